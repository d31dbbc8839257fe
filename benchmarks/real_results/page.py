"""Writes the tables of docs/results.md, and draws its plot, from benchmarks/results/real_results.json.

python -m benchmarks.real_results.page
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

from benchmarks.real_results.bench import REPOSITORY, RESULT

PAGE = REPOSITORY / "docs" / "results.md"
PLOT = REPOSITORY / "docs" / "images" / "results_by_labels.png"
STARTS = {"pretrained": "pre-trained", "masked_lm": "masked LM alone", "scratch": "from scratch"}
SYSTEMS = {"bm25": "BM25", "ngrams": "hashed n-grams", "scratch": "two towers, from scratch"}
TIME = "core_seconds"
COUNTS = ("10", "100", "1000", "all")

Parts = Mapping[str, Mapping[str, Mapping[str, Any]]]


def pretraining(parts: Parts) -> list[list[str]]:
    found = parts["pretrain"]["masked_lm"]["languages"]
    return [
        ["held-out text", "loss", "accuracy", "accuracy of the most frequent token"],
        *(
            [name, f"{own['loss']:.2f}", _percent(own["accuracy"]), _percent(own["unigram_accuracy"])]
            for name, own in found.items()
        ),
    ]


def matching(parts: Parts) -> list[list[str]]:
    compared = parts["pretrain"]["matching"]["valid"], parts["comparison"]["without"]["valid"]
    names = ("f1", "average_precision", "auc")
    return [
        ["pairs made of the catalog, held out", "F1", "average precision", "area under the ROC curve"],
        *(
            [title, *(_percent(metrics[name]) for name in names)]
            for title, metrics in zip(("compared token by token", "not compared"), compared, strict=True)
        ),
    ]


def duplicates(parts: Parts) -> list[list[str]]:
    rows = [["benchmark", "pairs", "DeepMatcher", "Ditto", "m5jax, pre-trained", "m5jax, from scratch", "gain"]]
    for benchmark, others in parts["published"].items():
        if f"{benchmark} scratch 0" not in parts["duplicates"]:
            continue
        found = {start: f1_of(parts["duplicates"], f"{benchmark} {start}") for start in ("pretrained", "scratch")}
        gain = np.mean(found["pretrained"]) - np.mean(found["scratch"])
        count = parts["duplicates"][f"{benchmark} pretrained 0"]["rows"]
        own = [_spread(found[start]) for start in found]
        rows.append([benchmark, f"{count:,}", *(f"{others[name]:.1f}" for name in ("DeepMatcher", "Ditto")), *own])
        rows[-1].append(f"{100 * gain:+.1f}")
    return rows


def f1_of(figures: Mapping[str, Mapping[str, Any]], key: str) -> list[float]:
    """Returns the F1 of all seeds there are."""
    return [own["f1"] for name, own in figures.items() if name.rpartition(" ")[0] == key]


def labels(parts: Parts) -> list[list[str]]:
    return [
        ["labels", *STARTS.values()],
        *([count, *(_spread(by_count(parts, count, start)) for start in STARTS)] for count in COUNTS),
    ]


def by_count(parts: Parts, count: str, start: str) -> list[float]:
    """Returns the F1 of each seed with so many labels."""
    if count == "all" and start != "masked_lm":
        return f1_of(parts["duplicates"], f"abt_buy {start}")
    return f1_of(parts["labels"], f"abt_buy {count} {start}")


def search(parts: Parts) -> list[list[str]]:
    names = ("map", "mrr", "ndcg@10", "recall@10", "recall@100")
    rows = [["candidates", "system", *names]]
    for candidates in ("judged", "all"):
        systems = {name: own for name, own in parts["search"][candidates].items() if name != TIME}
        for system, metrics in systems.items():
            title = next(
                (title for name, title in SYSTEMS.items() if name in system.lower()), "two towers, pre-trained"
            )
            rows.append([candidates, title, *(_percent(metrics.get(name)) for name in names)])
    return rows


def understanding(parts: Parts) -> list[list[str]]:
    names = {"intent_accuracy": "intents", "slot_f1": "slot F1", "semer": "SemER", "irer": "IRER"}
    rows = [["test", *(f"{title}, {start}" for title in names.values() for start in ("pre-trained", "scratch"))]]
    for data in ("snips", "hwu64", "xsid"):
        own = [parts["understanding"][f"{data} {start}"] for start in ("pretrained", "scratch")]
        for test in own[0]:
            if test != TIME:
                rows.append(
                    [test.removesuffix(".test"), *(_percent(found[test][name]) for name in names for found in own)]
                )
    return rows


def attributes(parts: Parts) -> list[list[str]]:
    rows = [["data", "start", "slot F1", "category accuracy"]]
    for data in ("oa_mine", "ae110k"):
        for start in ("pretrained", "scratch"):
            own = [found["test"] for key, found in parts["attributes"].items() if key.startswith(f"{data} {start}")]
            figures = [_spread([metrics[name] for metrics in own]) for name in ("slot_f1", "intent_accuracy")]
            rows.append([data, STARTS[start], *figures])
    return rows


def cost(parts: Parts) -> list[list[str]]:
    """Returns the minutes of a core of each part, and of all."""
    names = ("pretrain", "duplicates", "labels", "search", "understanding", "attributes")
    minutes = {name: sum(run[TIME] for run in parts[name].values()) / 60 for name in names}
    rows = [[name, f"{len(parts[name])}", f"{own:.0f}"] for name, own in minutes.items()]
    count = sum(len(parts[name]) for name in names)
    return [["part", "runs", "minutes of a core"], *rows, ["all", f"{count}", f"{sum(minutes.values()):.0f}"]]


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _spread(values: Sequence[float]) -> str:
    """Returns the mean and, of several, the lowest and highest, in percent."""
    if not values:
        return ""
    spread = f" ({100 * min(values):.1f} to {100 * max(values):.1f})" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.1f}{spread}"


TABLES: Mapping[str, Callable[[Parts], list[list[str]]]] = {
    "pretraining": pretraining,
    "matching": matching,
    "duplicates": duplicates,
    "labels": labels,
    "search": search,
    "understanding": understanding,
    "attributes": attributes,
    "cost": cost,
}


def filled(page: str, parts: Parts) -> str:
    """Returns a page with each table between its marks."""
    for name, table in TABLES.items():
        try:
            head, *rows = table(parts)
            text = "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])
        except KeyError:  # a part that was not run
            text = "Not measured yet."
        page, count = re.subn(
            rf"(<!-- {name} -->\n).*?(<!-- end -->)",
            lambda found, text=text: f"{found[1]}{text}\n{found[2]}",
            page,
            flags=re.S,
        )
        assert count == 1, name
    return page


def draw(parts: Parts) -> None:
    """Draws F1 by the number of labels."""
    matplotlib.use("Agg")
    figure, axes = plt.subplots(figsize=(7, 4.2))
    for start, title in STARTS.items():
        values = [by_count(parts, count, start) for count in COUNTS]
        middle = np.array([100 * np.mean(own) for own in values])
        low, high = (np.array([100 * limit(own) for own in values]) for limit in (min, max))
        axes.errorbar(COUNTS, middle, (middle - low, high - middle), marker="o", capsize=3, label=title)
    axes.axhline(
        parts["published"]["abt_buy"]["DeepMatcher"], color="gray", linestyle=":", label="DeepMatcher, all labels"
    )
    axes.set(xlabel="labelled training pairs of Abt-Buy", ylabel="F1 on the test pairs, %", ylim=(0, 100))
    axes.legend()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(PLOT, dpi=110)
    plt.close(figure)


def main() -> None:
    parts = json.loads(RESULT.read_text(encoding="utf-8"))["parts"]
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), parts), encoding="utf-8")
    draw(parts)
    print(f"written: {PAGE.relative_to(REPOSITORY)}, {PLOT.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    main()

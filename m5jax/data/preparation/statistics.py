"""What a preparation read, dropped and kept, from the counts of its workers."""

import dataclasses
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tabulate import tabulate

from m5jax.data.preparation.settings import Preparation

FILE_NAME = "statistics.json"
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_HISTOGRAM_BINS_A_DECADE = 8


def summarize(
    tallies: Iterable[tuple[tuple[str, str, str, int], int]], settings: Preparation, sources: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the statistics of a preparation, as JSON can hold them.

    Args:
        tallies: ((name, language, detail, number), count): `read`; `dropped` with the step; `rejected` with the reason;
            `bytes` with the split; `characters` and `words` with the split and the length, counting documents.
        settings: of the preparation.
        sources: what `describe_files` says of its input.

    Returns:
        Totals, the same for each language, reasons of rejected rows, settings and input. `read` is `kept` and all of
        `dropped` together, in total and for each language; rejected rows are not in `read`.
    """
    counts: dict[str, dict[str, Counter[Any]]] = defaultdict(lambda: defaultdict(Counter))
    for (name, language, detail, number), count in tallies:
        counts[name][language][detail, number] += count
    rejected = counts.pop("rejected", {}).get("", Counter())
    languages = {language: _of_language(counts, language) for language in sorted(counts["read"])}
    dropped: Counter[str] = Counter()
    for values in languages.values():
        dropped.update(values["dropped"])
    return {
        "read": sum(values["read"] for values in languages.values()),
        "kept": sum(values["kept"] for values in languages.values()),
        "dropped": dict(dropped),
        "rejected": sum(rejected.values()),
        "rejected_reasons": {reason: count for (reason, _), count in rejected.most_common()},
        "languages": languages,
        "fingerprint": settings.fingerprint(sources),
        "settings": dataclasses.asdict(settings),
        "input": dict(sources),
    }


def statistics_table(statistics: Mapping[str, Any]) -> str:
    """Returns what became of the rows of each language, as a table of text."""
    steps = list(statistics["dropped"])
    rows = [
        [language, values["read"], *(values["dropped"].get(step, 0) for step in steps), values["kept"]]
        for language, values in statistics["languages"].items()
    ]
    rows.append(["all", statistics["read"], *statistics["dropped"].values(), statistics["kept"]])
    columns = zip(("language", "read", *steps, "kept"), *rows, strict=True)
    lines = tabulate([[name, *values] for name, *values in columns], headers="firstrow", intfmt=",", tablefmt="simple")
    return f"{lines}\nbad rows: {statistics['rejected']:,}"


def write_statistics(directory: Path, statistics: Mapping[str, Any]) -> None:
    """Writes `statistics.json`; lets OSError through."""
    text = json.dumps(statistics, indent=2, ensure_ascii=False)
    (directory / FILE_NAME).write_text(text + "\n", encoding="utf-8")


def quantiles(lengths: Mapping[int, int]) -> dict[str, int]:
    """Returns the quantiles of lengths that occur so often: the smallest length that at least the share has at most."""
    total, found, below = sum(lengths.values()), {}, 0
    wanted = list(QUANTILES)
    for length in sorted(lengths):
        below += lengths[length]
        while wanted and below >= wanted[0] * total:
            found[f"{wanted.pop(0):g}"] = length
    return found


def _of_language(counts: Mapping[str, Mapping[str, Counter[Any]]], language: str) -> dict[str, Any]:
    def of(name: str) -> Counter[Any]:
        return counts.get(name, {}).get(language, Counter())

    splits: dict[str, dict[str, int]] = {}
    lengths: dict[str, Counter[int]] = {"characters": Counter(), "words": Counter()}
    for unit, histogram in lengths.items():
        for (split, length), count in of(unit).items():
            values = splits.setdefault(
                split, {"records": 0, "bytes": of("bytes")[split, 0], "characters": 0, "words": 0}
            )
            values[unit] += length * count
            values["records"] += count if unit == "characters" else 0
            histogram[length] += count
    return {
        "read": sum(of("read").values()),
        "kept": sum(values["records"] for values in splits.values()),
        "dropped": {step: count for (step, _), count in sorted(of("dropped").items(), key=lambda item: -item[1])},
        "splits": dict(sorted(splits.items())),
        "character_quantiles": quantiles(lengths["characters"]),
        "word_quantiles": quantiles(lengths["words"]),
        "character_histogram": _histogram(lengths["characters"]),
    }


def _histogram(lengths: Mapping[int, int]) -> list[tuple[int, int]]:
    """Returns (least length, documents) of bins of equal ratio, eight for each factor of ten."""
    edges = [round(10 ** (step / _HISTOGRAM_BINS_A_DECADE)) for step in range(9 * _HISTOGRAM_BINS_A_DECADE)]
    edges = sorted({0, *edges})
    bins: Counter[int] = Counter()
    position = 0
    for length in sorted(lengths):
        while position + 1 < len(edges) and edges[position + 1] <= length:
            position += 1
        bins[edges[position]] += lengths[length]
    return sorted(bins.items())

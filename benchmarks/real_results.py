"""What fine-tuning reaches on real benchmarks with a model that 2 CPU cores pre-train.

    M5JAX_DATA=/path/to/data python benchmarks/real_results.py
    M5JAX_DATA=/path/to/data python benchmarks/real_results.py --part=duplicates

Every part goes through the commands of m5jax, in a folder (--work) where what is done stays done, so that it can be
stopped and goes on where it was; benchmarks/results/real_results.json is written after each figure. Parts:

pretrain     a vocabulary, masked-LM pre-training on text and on products that are in no test pair, then pairs made of
             these products without labels
duplicates   product matching, joint: with and without pre-training, three seeds
labels       the same for one benchmark with 10, 100, 1,000 and all labels
search       Home Depot: two towers, hashed n-grams, BM25
understanding   intents and slots: SNIPS, HWU64, xSID (trained on English, tested on the other languages)
attributes   attribute values as slots: OA-Mine, AE-110k
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from benchmarks.environment import environment
from m5jax.cli.main import main as m5jax
from m5jax.data.readers import read_rows
from m5jax.evaluation.estimates import Estimate
from m5jax.evaluation.report_data import read_report_data

REPOSITORY = Path(__file__).resolve().parents[1]
RESULT = REPOSITORY / "benchmarks" / "results" / "real_results.json"
SEEDS = (0, 1, 2)
# Benchmark and size: files and the column of the title.
DUPLICATES = {
    "beer": ("", "Beer_Name"),
    "itunes_amazon": ("", "Song_Name"),
    "itunes_amazon_dirty": ("", "Song_Name"),
    "abt_buy": ("", "name"),
    "amazon_google": ("", "title"),
    **{
        f"wdc_{category}_{size}": (size, "title")
        for category in ("computers", "cameras", "shoes")
        for size in ("small", "medium")
    },
}
LABELS = (10, 100, 1000)
LABELS_OF = "abt_buy"
XSID = ("en", "de", "ar", "da", "id", "ja", "kk", "lt", "nap", "sr", "zh", "gsw", "de-ba", "de-muc", "de-st")
SELF_LABELLED = 60_000
CHARACTERS = 600  # of a product in the vocabulary's sample

Row = dict[str, Any]


class Results:
    """The figures so far, by part and name; each is written as soon as it is there."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, Any]] = {}
        if RESULT.is_file():
            self.values = json.loads(RESULT.read_text(encoding="utf-8"))["parts"]

    def has(self, part: str, name: str) -> bool:
        return name in self.values.get(part, {})

    def add(self, part: str, name: str, figures: Mapping[str, Any]) -> None:
        self.values.setdefault(part, {})[name] = dict(figures)
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(json.dumps({"environment": environment(), "parts": self.values}, indent=2) + "\n", "utf-8")
        print(part, name, json.dumps(figures), flush=True)


class Bench:
    """Where runs are, and what they are made from."""

    def __init__(self, data: Path, work: Path) -> None:
        self.data, self.work, self.results = data, work, Results()
        work.mkdir(parents=True, exist_ok=True)

    @property
    def pretrained(self) -> Path:
        return self.work / "pretrained"

    @property
    def matching(self) -> Path:
        return self.work / "matching"

    def file(self, folder: str, name: str) -> str:
        return str(self.data / folder / f"{name}.jsonl.zst")

    def rows(self, folder: str, name: str, file: str, change: Callable[[Row], Row | None]) -> str:
        """Returns a file in the working folder with the changed rows of one of the data."""
        path = self.work / f"{file}.jsonl"
        if not path.exists():
            partial = path.with_suffix(".partial")
            with partial.open("w", encoding="utf-8") as output:
                for _, row in read_rows(self.file(folder, name), on_bad=_refuse):
                    if (changed := change(dict(row))) is not None:
                        output.write(json.dumps(changed, ensure_ascii=False) + "\n")
            partial.rename(path)
        return str(path)

    def finetune(self, name: str, begin: Path | None, recipe: str, train: str, valid: str, *flags: str) -> float:
        """Fine-tunes unless that is done, and returns the seconds that this call took."""
        started = time.perf_counter()
        run_dir = self.work / name
        if not (run_dir / "fine_tuned" / "result.json").exists():
            run_from = [] if begin is None else [f"--from={begin}"]
            command = ["finetune", *run_from, f"--train={train}", f"--valid={valid}", f"--recipe={recipe}"]
            run([*command, f"--run_dir={run_dir}", "--overlap=drop", *flags])
        return time.perf_counter() - started

    def evaluate(self, name: str, data: str, evaluation: str, *flags: str) -> dict[str, dict[str, Any]]:
        """Evaluates unless that is done, and returns the metrics of each group."""
        folder = self.work / name / "evaluations" / evaluation
        if not folder.exists():
            run(["evaluate", f"--run={self.work / name}", f"--data={data}", f"--name={evaluation}", *flags])
        return {group.name: _figures(group.metrics) for group in read_report_data(folder).groups}


def _figures(metrics: Mapping[str, Estimate]) -> dict[str, Any]:
    values = {name: round(found.value, 4) for name, found in metrics.items()}
    return values | {f"{name} interval": [found.low, found.high] for name, found in metrics.items()}


def run(command: Sequence[str]) -> None:
    """Runs a command of m5jax in this process; raises where it fails."""
    print("m5jax", *command, file=sys.stderr, flush=True)
    if status := m5jax(list(command)):
        raise SystemExit(f"m5jax {' '.join(command)} ended with status {status}")


def _refuse(location: str, reason: str) -> None:
    raise ValueError(f"{location}: {reason}")


def pretrain(bench: Bench, steps: int) -> None:
    vocabulary = bench.work / "vocabulary.model"
    products = bench.rows("products", "products", "products", _product)
    if not vocabulary.exists():
        texts = bench.rows("products", "products", "product_texts", _product_text)
        inputs = [texts, *(bench.file("text", f"{language}.train") for language in ("en", "de", "ar"))]
        flags = ["--size=8192", "--sentences=150000", "--alpha=0.5", f"--output={vocabulary}"]
        run(["vocabulary", "train", *(f"--input={path}" for path in inputs), *flags])
    started = time.perf_counter()
    if not (bench.pretrained / "report.html").exists() or not bench.results.has("pretrain", "masked_lm"):
        gin = {"RUN_DIR": str(bench.pretrained), "VOCABULARY": str(vocabulary), "TRAIN_STEPS": steps}
        bindings = [f"--gin.{name}={value!r}" for name, value in gin.items()]
        # Its own process: TensorFlow's threads would stay.
        command = [
            sys.executable,
            "-m",
            "m5jax.cli.main",
            "train",
            "--gin_file=gin_configs/experiments/catalog_and_text.gin",
        ]
        subprocess.run([*command, *bindings], cwd=REPOSITORY, check=True)
        summary = json.loads((bench.pretrained / "summary.json").read_text(encoding="utf-8"))
        bench.results.add(
            "pretrain",
            "masked_lm",
            {name: summary[name] for name in ("steps", "parameters", "tokens_per_second", "languages")}
            | {"seconds": round(time.perf_counter() - started)},
        )
    pairs = {name: bench.work / f"pairs_{name}.jsonl" for name in ("train", "valid")}
    for path, count, seed in zip(pairs.values(), (SELF_LABELLED, SELF_LABELLED // 30), (0, 1), strict=True):
        if not path.exists():
            run(["data", "pairs", f"--input={products}", f"--count={count}", f"--output={path}", f"--seed={seed}"])
    flags = _settings(length=128, batch_size=64, epochs=2.0, log_every=50) + [
        "--gin.Cosine.peak=1e-3",
        "--gin.Cosine.warmup_steps=100",
    ]
    seconds = bench.finetune("matching", bench.pretrained, "joint", str(pairs["train"]), str(pairs["valid"]), *flags)
    if not bench.results.has("pretrain", "matching"):
        result = json.loads((bench.matching / "fine_tuned" / "result.json").read_text(encoding="utf-8"))
        bench.results.add("pretrain", "matching", {"valid": result["metrics"], "seconds": round(seconds)})


def _is_tested(row: Row) -> bool:
    return "test" in (row.get("benchmark_splits") or ())


def _product(row: Row) -> Row | None:
    if _is_tested(row):
        return None
    names = ("id", "title", "description", "attributes", "category")
    return {name: row[name] for name in names} | {"language": row["lang"]}


def _product_text(row: Row) -> Row | None:
    if _is_tested(row):
        return None
    values = " ".join(f"{name} {value}" for name, value in row["attributes"].items() if isinstance(value, str))
    return {"text": f"{row['title']} {values} {row['description']}"[:CHARACTERS], "lang": row["lang"]}


def _settings(**settings: Any) -> list[str]:
    return [f"--gin.FineTuning.{name}={value!r}" for name, value in settings.items()]


def duplicates(bench: Bench) -> None:
    for benchmark, (size, title) in DUPLICATES.items():
        for start in ("pretrained", "scratch"):
            for seed in SEEDS:
                key = f"{benchmark} {start} {seed}"
                if not bench.results.has("duplicates", key):
                    files = _duplicate_files(bench, benchmark, size)
                    bench.results.add("duplicates", key, _matched(bench, key, files, title, start, seed))


def _duplicate_files(bench: Bench, benchmark: str, size: str) -> dict[str, str]:
    name = benchmark.removesuffix(f"_{size}") if size else benchmark
    own = f"_{size}" if size else ""
    files = {"train": f"{name}.train{own}", "valid": f"{name}.valid{own}", "test": f"{name}.test"}
    return {split: bench.file("duplicates", file) for split, file in files.items()}


def _matched(bench: Bench, key: str, files: Mapping[str, str], title: str, start: str, seed: int, **more: Any) -> Row:
    rows = sum(1 for _ in read_rows(files["train"], on_bad=_refuse))
    # Few labels are seen more often, and many less.
    epochs = min(30.0, max(4.0, 20_000 / rows))
    flags = _settings(length=128, batch_size=32, epochs=epochs, log_every=50, **more)
    flags += [f"--seed={seed}", "--column", f"title={title}", "--default", "language=en"]
    flags += ["--gin.Cosine.peak=5e-4", "--from_scratch"] if start == "scratch" else ["--gin.Cosine.peak=5e-4"]
    name = f"duplicates/{key.replace(' ', '_')}"
    seconds = bench.finetune(name, bench.matching, "joint", files["train"], files["valid"], *flags)
    found = bench.evaluate(name, files["test"], "test", "--overlap=allow", "--samples=500")["all"]
    return {"f1": found["f1"], "interval": found["f1 interval"], "rows": rows, "seconds": round(seconds)}


def labels(bench: Bench) -> None:
    size, title = DUPLICATES[LABELS_OF]
    files = _duplicate_files(bench, LABELS_OF, size)
    for count in LABELS:
        for start in ("pretrained", "scratch"):
            for seed in SEEDS:
                key = f"{LABELS_OF} {count} {start} {seed}"
                if not bench.results.has("labels", key):
                    own = {**files, "train": _some(bench, files["train"], count, seed)}
                    bench.results.add("labels", key, _matched(bench, key, own, title, start, seed))


def _some(bench: Bench, path: str, count: int, seed: int) -> str:
    """Returns a file of so many rows, as many that fit as there are in the whole, at least two."""
    import random

    output = bench.work / f"some_{count}_{seed}.jsonl"
    rows = [dict(row) for _, row in read_rows(path, on_bad=_refuse)]
    random.Random(seed).shuffle(rows)
    fitting = [row for row in rows if row["label"] == 1]
    others = [row for row in rows if row["label"] == 0]
    share = max(2, round(count * len(fitting) / len(rows)))
    chosen = fitting[:share] + others[: count - share]
    output.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in chosen), encoding="utf-8")
    return str(output)


def search(bench: Bench) -> None:
    files = {name: bench.file("search", f"home_depot.{name}") for name in ("train", "valid", "test")}
    columns = ["--column", "left=query", "--column", "right=product", "--column", "label=relevance"]
    grades = ["--gin.PairLabels.lowest=1.0", "--gin.PairLabels.highest=3.0", "--gin.PairLabels.fits_from=2.33"]
    flags = [*columns, *grades, "--gin.FineTuning.select='average_precision'"]
    towers = _settings(length=48, batch_size=128, epochs=3.0, log_every=50) + ["--gin.Cosine.peak=1e-3"]
    ngrams = _settings(length=128, batch_size=256, epochs=5.0, log_every=50)
    bench.finetune("search/ngrams", None, "hashed_ngrams", files["train"], files["valid"], *flags, *ngrams)
    bench.finetune("search/towers", bench.pretrained, "two_tower", files["train"], files["valid"], *flags, *towers)
    scratch = [*flags, *towers, "--from_scratch"]
    bench.finetune("search/scratch", bench.pretrained, "two_tower", files["train"], files["valid"], *scratch)
    for candidates in ("judged", "all"):
        if not bench.results.has("search", candidates):
            baselines = ["bm25", str(bench.work / "search/ngrams"), str(bench.work / "search/scratch")]
            found = bench.evaluate(
                "search/towers",
                files["test"],
                f"search_{candidates}",
                "--kind=search",
                f"--candidates={candidates}",
                "--overlap=allow",
                *(f"--baseline={baseline}" for baseline in baselines),
            )
            bench.results.add("search", candidates, found)


def understanding(bench: Bench) -> None:
    def clean(row: Row) -> Row | None:
        return None if row.get("same_text_in_eval") else row

    sets = {
        "xsid": ("xsid_en.train", "xsid_en.valid", [f"xsid_{language}.test" for language in XSID]),
        "snips": ("snips_en.train", "snips_en.test", ["snips_en.test"]),
        "hwu64": ("hwu64_fold1_en.train", "hwu64_fold1_en.test", ["hwu64_fold1_en.test"]),
    }
    for name, (train, valid, tests) in sets.items():
        rows = bench.rows("nlu", train, f"{name}_train", clean)
        # SNIPS and HWU64 have no validation rows: a tenth of the training's.
        split = {"train": rows, "valid": bench.file("nlu", valid)} if name == "xsid" else _split(bench, name, rows)
        for start in ("pretrained", "scratch"):
            flags = [
                "--column",
                "tags=slots",
                *_settings(length=64, batch_size=64, epochs=4.0 if name == "xsid" else 8.0, log_every=50),
            ]
            flags += ["--gin.Cosine.peak=1e-3", *(["--from_scratch"] if start == "scratch" else [])]
            run_name = f"understanding/{name}_{start}"
            bench.finetune(run_name, bench.pretrained, "intents_and_slots", split["train"], split["valid"], *flags)
            for test in tests:
                if not bench.results.has("understanding", f"{test} {start}"):
                    found = bench.evaluate(run_name, bench.file("nlu", test), test, "--overlap=allow", "--samples=500")
                    bench.results.add("understanding", f"{test} {start}", found["all"])


def _split(bench: Bench, name: str, path: str) -> dict[str, str]:
    """Returns files of nine tenths of the rows and of one tenth."""
    files = {split: bench.work / f"{name}_{split}_split.jsonl" for split in ("train", "valid")}
    if not files["valid"].exists():
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        parts: dict[str, list[str]] = {"train": [], "valid": []}
        for number, line in enumerate(lines):
            parts["valid" if number % 10 == 0 else "train"].append(line)
        for split, own in parts.items():
            files[split].write_text("".join(f"{line}\n" for line in own), encoding="utf-8")
    return {split: str(file) for split, file in files.items()}


def attributes(bench: Bench) -> None:
    from m5jax.data.catalog_records import ProductRecord
    from m5jax.data.labelled_examples import attribute_spans

    def as_utterance(row: Row) -> Row | None:
        values = {name: value for name, found in row["values"].items() for value in [", ".join(found)] if value}
        labelled = attribute_spans(ProductRecord("", row["lang"], row["lang"], row["text"], attributes=values))
        if labelled is None:
            return None
        words, tags = zip(*labelled.pieces[1:], strict=True)
        return {"tokens": words, "tags": tags, "intent": row["category"], "language": row["lang"]}

    for name in ("oa_mine", "ae110k"):
        train = bench.rows("attributes", f"{name}.train", f"{name}_train", as_utterance)
        test = bench.rows("attributes", f"{name}.test", f"{name}_test", as_utterance)
        split = _split(bench, name, train)
        for start in ("pretrained", "scratch"):
            for seed in SEEDS:
                key = f"{name} {start} {seed}"
                if bench.results.has("attributes", key):
                    continue
                flags = [*_settings(length=64, batch_size=32, epochs=20.0, log_every=50), f"--seed={seed}"]
                flags += ["--gin.Cosine.peak=1e-3", *(["--from_scratch"] if start == "scratch" else [])]
                run_name = f"attributes/{key.replace(' ', '_')}"
                bench.finetune(run_name, bench.pretrained, "intents_and_slots", split["train"], split["valid"], *flags)
                found = bench.evaluate(run_name, test, "test", "--overlap=allow", "--samples=500")["all"]
                bench.results.add("attributes", key, found)


PARTS: Mapping[str, Callable[[Bench], None]] = {
    "duplicates": duplicates,
    "labels": labels,
    "search": search,
    "understanding": understanding,
    "attributes": attributes,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=("pretrain", *PARTS), help="only this; several times")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/real_results"), help="folder of runs (default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=4000, help="of pre-training (default: %(default)s)")
    arguments = parser.parse_args()
    if "M5JAX_DATA" not in os.environ:
        parser.error("the environment variable M5JAX_DATA names the folder of the data, and is not set")
    bench = Bench(Path(os.environ["M5JAX_DATA"]), arguments.work.resolve())
    pretrain(bench, arguments.steps)
    for name, part in PARTS.items():
        if arguments.part is None or name in arguments.part:
            part(bench)


if __name__ == "__main__":
    main()

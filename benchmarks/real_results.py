"""What fine-tuning reaches on real benchmarks with a model that 2 CPU cores pre-train.

    M5JAX_DATA=/path/to/data python benchmarks/real_results.py
    M5JAX_DATA=/path/to/data python benchmarks/real_results.py --part=duplicates

Every part goes through the commands of m5jax, in a folder (--work) where what is done stays done, so that it can be
stopped and goes on where it was; benchmarks/results/real_results.json is written after each figure. Parts:

pretrain     a vocabulary, masked-LM pre-training on text and on products that are in no test pair, then matching of
             pairs made of these products without labels
duplicates   product matching, joint: from the pre-trained model, three seeds, and from scratch
labels       the same for one benchmark with 10, 100, 1,000 and all labels, and from masked-LM pre-training alone
search_training, search   Home Depot: two towers, hashed n-grams, BM25
understanding   intents and slots: SNIPS, HWU64, xSID (trained on English, tested on the other languages)
attributes   attribute values as slots: OA-Mine, AE-110k
comparison   what the last step of `pretrain` reaches where texts are not compared token by token

Settings were chosen on validation data. Runs of a part are made side by side, one a core: models this small keep no two
cores busy. Seconds are of the training of one run, with its validation.
"""

import argparse
import csv
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import jax

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from benchmarks.environment import environment
from m5jax.cli.main import main as m5jax
from m5jax.data.catalog_records import ProductRecord
from m5jax.data.labelled_examples import attribute_spans
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
LONG = ("beer", "itunes_amazon", "itunes_amazon_dirty", "wdc_shoes_small", "wdc_shoes_medium")  # wordy pairs
LABELS = (10, 100, 1000)
LABELS_OF = "abt_buy"
XSID = ("en", "de", "ar", "da", "id", "ja", "kk", "lt", "nap", "sr", "zh", "gsw", "de-ba", "de-muc", "de-st")
SELF_LABELLED = 60_000
CHARACTERS = 600  # of a product in the vocabulary's sample

Row = dict[str, Any]
Job = tuple[Any, ...]  # a function and, after the bench, its arguments


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

    def finetune(self, name: str, begin: Path | None, recipe: str, train: str, valid: str, *flags: str) -> None:
        """Fine-tunes unless that is done."""
        run_dir = self.work / name
        if not (run_dir / "fine_tuned" / "result.json").exists():
            run_from = [] if begin is None else [f"--from={begin}"]
            command = ["finetune", *run_from, f"--train={train}", f"--valid={valid}", f"--recipe={recipe}"]
            run([*command, f"--run_dir={run_dir}", "--overlap=drop", *flags])

    def seconds(self, name: str) -> int:
        """Of the training of a run that was not interrupted."""
        lines = (self.work / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        first, last = json.loads(lines[0]), json.loads(lines[-1])
        return round(last["time"] - first["time"])

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


def run_jobs(bench: Bench, jobs: Mapping[tuple[str, str], Job]) -> None:
    """Runs the jobs, of a part and a name each, that have no figures yet, side by side, and keeps their figures."""
    missing = {names: job for names, job in jobs.items() if not bench.results.has(*names)}
    cores = sorted(os.sched_getaffinity(0))
    context = get_context("spawn")
    own: Queue[int] = context.Queue()
    for core in cores:
        own.put(core)
    with ProcessPoolExecutor(len(cores), context, _begin_worker, (own, bench.work)) as pool:
        futures = {pool.submit(function, bench, *arguments): names for names, (function, *arguments) in missing.items()}
        try:
            for future in as_completed(futures):
                bench.results.add(*futures[future], future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin_worker(cores: "Queue[int]", work: Path) -> None:
    os.sched_setaffinity(0, {cores.get()})
    jax.config.update("jax_compilation_cache_dir", str(work / "compiled"))


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
    if not bench.results.has("pretrain", "masked_lm"):
        bench.results.add("pretrain", "masked_lm", _pretrained(bench, vocabulary, steps))
    pairs = {name: bench.work / f"pairs_{name}.jsonl" for name in ("train", "valid")}
    for path, count, seed in zip(pairs.values(), (SELF_LABELLED, SELF_LABELLED // 30), (0, 1), strict=True):
        if not path.exists():
            run(["data", "pairs", f"--input={products}", f"--count={count}", f"--output={path}", f"--seed={seed}"])
    if not bench.results.has("pretrain", "matching"):
        bench.results.add("pretrain", "matching", _matching(bench, "matching"))


def _matching(bench: Bench, name: str, *more: str) -> Row:
    """Returns what pairs made of the catalog are told apart by, after fine-tuning on others."""
    train, valid = (str(bench.work / f"pairs_{split}.jsonl") for split in ("train", "valid"))
    flags = _settings(length=64, batch_size=64, epochs=1.0, log_every=50, dropout_rate=0.1)
    flags += ["--gin.Cosine.peak=1e-3", "--gin.Cosine.warmup_steps=100", *more]
    bench.finetune(name, bench.pretrained, "joint", train, valid, *flags)
    result = json.loads((bench.work / name / "fine_tuned" / "result.json").read_text(encoding="utf-8"))
    return {"valid": result["metrics"], "seconds": bench.seconds(name)}


def comparison(bench: Bench) -> dict[str, Job]:
    return {"without": (_matching, "matching_without", "--gin.JointTask.compare=False")}


def _pretrained(bench: Bench, vocabulary: Path, steps: int) -> Row:
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
    return {name: summary[name] for name in ("steps", "parameters", "tokens_per_second", "languages")}


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


def duplicates(bench: Bench) -> dict[str, Job]:
    return {
        f"{benchmark} {start} {seed}": (_matched, f"duplicates/{benchmark}", files, title, start, seed)
        for seed in SEEDS
        for benchmark, (size, title) in DUPLICATES.items()
        for files in [_duplicate_files(bench, benchmark, size)]
        for start in ("pretrained", "scratch")
        # Three seeds from scratch where labels are counted; elsewhere there is no time for more than one.
        if start == "pretrained" or seed == 0 or benchmark == LABELS_OF
    }


def _duplicate_files(bench: Bench, benchmark: str, size: str) -> dict[str, str]:
    name = benchmark.removesuffix(f"_{size}") if size else benchmark
    own = f"_{size}" if size else ""
    files = {"train": f"{name}.train{own}", "valid": f"{name}.valid{own}", "test": f"{name}.test"}
    return {split: bench.file("duplicates", file) for split, file in files.items()}


def _matched(bench: Bench, name: str, files: Mapping[str, str], title: str, start: str, seed: int) -> Row:
    """Returns the F1 of the test pairs, after fine-tuning on the training pairs."""
    rows = sum(1 for _ in read_rows(files["train"], on_bad=_refuse))
    batch_size = 32 if rows >= 1000 else 16
    # Few labels are seen more often.
    steps = max(60, round(min(10, max(4, 15_000 / rows)) * rows / batch_size))
    length = 128 if name.split("/")[1] in LONG else 64
    flags = _settings(length=length, batch_size=batch_size, steps=steps, log_every=50, dropout_rate=0.1)
    # What is learned already is to be kept where labels are few.
    peak = "5e-4" if rows < 1000 and start == "pretrained" else "1e-3"
    flags += [f"--gin.FineTuning.evaluate_every={steps // 5}", f"--gin.Cosine.peak={peak}", f"--seed={seed}"]
    flags += ["--column", f"title={title}", "--default", "language=en"]
    flags += ["--from_scratch"] if start == "scratch" else []
    name = f"{name}_{start}_{seed}"
    begin = bench.pretrained if start == "masked_lm" else bench.matching
    bench.finetune(name, begin, "joint", files["train"], files["valid"], *flags)
    found = bench.evaluate(name, files["test"], "test", "--overlap=allow", "--samples=500")["all"]
    return {"f1": found["f1"], "interval": found["f1 interval"], "rows": rows, "seconds": bench.seconds(name)}


def labels(bench: Bench) -> dict[str, Job]:
    size, title = DUPLICATES[LABELS_OF]
    files = _duplicate_files(bench, LABELS_OF, size)
    fewer = {
        (count, seed): {**files, "train": _some(bench, files["train"], count, seed)}
        for count in LABELS
        for seed in SEEDS
    }
    jobs: dict[str, Job] = {
        f"{LABELS_OF} {count} {start} {seed}": (_matched, f"labels/{LABELS_OF}_{count}", own, title, start, seed)
        for (count, seed), own in fewer.items()
        for start in ("pretrained", "masked_lm", "scratch")
    }
    for seed in SEEDS:  # the other two are those of `duplicates`
        key = f"{LABELS_OF} all masked_lm {seed}"
        jobs[key] = (_matched, f"labels/{LABELS_OF}_all", files, title, "masked_lm", seed)
    return jobs


def _some(bench: Bench, path: str, count: int, seed: int) -> str:
    """Returns a file of so many rows, with the share of fitting ones of the whole, at least two."""
    output = bench.work / f"some_{count}_{seed}.jsonl"
    rows = [dict(row) for _, row in read_rows(path, on_bad=_refuse)]
    random.Random(seed).shuffle(rows)
    fitting = [row for row in rows if row["label"] == 1]
    others = [row for row in rows if row["label"] == 0]
    share = max(2, round(count * len(fitting) / len(rows)))
    chosen = fitting[:share] + others[: count - share]
    output.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in chosen), encoding="utf-8")
    return str(output)


def search_training(bench: Bench) -> dict[str, Job]:
    files = {name: bench.file("search", f"home_depot.{name}") for name in ("train", "valid", "test")}
    columns = ["--column", "left=query", "--column", "right=product", "--column", "label=relevance"]
    grades = ["--gin.PairLabels.lowest=1.0", "--gin.PairLabels.highest=3.0", "--gin.PairLabels.fits_from=2.33"]
    flags = [*columns, *grades, "--gin.FineTuning.select='average_precision'"]
    towers = _settings(length=32, batch_size=128, epochs=1.0, log_every=50) + ["--gin.Cosine.peak=1e-3"]
    ngrams = _settings(length=128, batch_size=256, epochs=3.0, log_every=50)
    return {
        "ngrams": (_searching, "ngrams", None, "hashed_ngrams", files, [*flags, *ngrams]),
        "pretrained": (_searching, "pretrained", bench.pretrained, "two_tower", files, [*flags, *towers]),
        "scratch": (_searching, "scratch", bench.pretrained, "two_tower", files, [*flags, *towers, "--from_scratch"]),
    }


def _searching(
    bench: Bench, name: str, begin: Path | None, recipe: str, files: Mapping[str, str], flags: Sequence[str]
) -> Row:
    bench.finetune(f"search/{name}", begin, recipe, files["train"], files["valid"], *flags)
    return {"seconds": bench.seconds(f"search/{name}")}


def search(bench: Bench) -> dict[str, Job]:
    test = bench.file("search", "home_depot.test")
    return {candidates: (_searched, test, candidates) for candidates in ("judged", "all")}


def _searched(bench: Bench, data: str, candidates: str) -> Row:
    baselines = ["bm25", str(bench.work / "search/ngrams"), str(bench.work / "search/scratch")]
    flags = ["--kind=search", f"--candidates={candidates}", "--overlap=allow"]
    flags += [f"--baseline={baseline}" for baseline in baselines]
    return bench.evaluate("search/pretrained", data, f"search_{candidates}", *flags)


def understanding(bench: Bench) -> dict[str, Job]:
    sets = {
        "xsid": ("xsid_en.train", [f"xsid_{language}.test" for language in XSID]),
        "snips": ("snips_en.train", ["snips_en.test"]),
        "hwu64": ("hwu64_fold1_en.train", ["hwu64_fold1_en.test"]),
    }
    jobs = {}
    for name, (train, tests) in sets.items():
        rows = bench.rows("nlu", train, f"{name}_train", _untested)
        # SNIPS and HWU64 have no validation rows: a tenth of the training's.
        own = {"train": rows, "valid": bench.file("nlu", "xsid_en.valid")}
        split = own if name == "xsid" else _split(bench, name, rows)
        files = {test: bench.file("nlu", test) for test in tests}
        epochs = 2.0 if name == "xsid" else 6.0
        for start in ("pretrained", "scratch"):
            jobs[f"{name} {start}"] = (_understood, f"understanding/{name}", split, files, start, 0, epochs)
    return jobs


def _untested(row: Row) -> Row | None:
    # Some tags of xSID's training part are broken.
    is_whole = all(tag == "O" or tag.startswith(("B-", "I-")) for tag in row["slots"])
    return row if is_whole and not row.get("same_text_in_eval") else None


def _understood(
    bench: Bench,
    name: str,
    split: Mapping[str, str],
    tests: Mapping[str, str],
    start: str,
    seed: int,
    epochs: float,
) -> Row:
    """Returns the metrics of each test file, after fine-tuning on utterances."""
    flags = _settings(length=64, batch_size=64, epochs=epochs, log_every=50, dropout_rate=0.1)
    flags += ["--gin.Cosine.peak=1e-3", f"--seed={seed}", "--column", "tags=slots"]
    flags += ["--from_scratch"] if start == "scratch" else []
    name = f"{name}_{start}_{seed}"
    bench.finetune(name, bench.pretrained, "intents_and_slots", split["train"], split["valid"], *flags)
    return {
        test: bench.evaluate(name, path, test, "--overlap=allow", "--samples=500")["all"]
        for test, path in tests.items()
    } | {"seconds": bench.seconds(name)}


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


def attributes(bench: Bench) -> dict[str, Job]:
    jobs = {}
    for name in ("oa_mine", "ae110k"):
        train = bench.rows("attributes", f"{name}.train", f"{name}_train", _as_utterance)
        tests = {"test": bench.rows("attributes", f"{name}.test", f"{name}_test", _as_utterance)}
        split = _split(bench, name, train)
        for seed in SEEDS:
            for start in ("pretrained", "scratch"):
                arguments = (f"attributes/{name}", split, tests, start, seed, 12.0)
                jobs[f"{name} {start} {seed}"] = (_understood, *arguments)
    return jobs


def _as_utterance(row: Row) -> Row | None:
    values = {name: value for name, found in row["values"].items() for value in [", ".join(found)] if value}
    labelled = attribute_spans(ProductRecord("", row["lang"], row["lang"], row["text"], attributes=values))
    if labelled is None:
        return None
    words, tags = zip(*labelled.pieces[1:], strict=True)
    return {"tokens": words, "slots": tags, "intent": row["category"], "language": row["lang"]}


def published(bench: Bench) -> None:
    """Adds the F1 of others, in percent, of the same splits."""
    with (bench.data / "duplicates" / "published_f1.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for benchmark, (size, _) in DUPLICATES.items():
        name, setting = benchmark.removesuffix(f"_{size}") if size else benchmark, size or "full train split"
        own = [row for row in rows if row["benchmark"] == name and row["setting"] == setting]
        figures = {row["model"].partition(" (best")[0]: float(row["f1"]) for row in own}
        bench.results.add("published", benchmark, {model: figures[model] for model in ("DeepMatcher", "Ditto")})


PARTS: Mapping[str, Callable[[Bench], dict[str, Job]]] = {
    "duplicates": duplicates,
    "labels": labels,
    "search_training": search_training,
    "understanding": understanding,
    "attributes": attributes,
    "comparison": comparison,
}
AFTER = {"search": search}  # of what is trained


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--part", action="append", choices=("pretrain", *PARTS, *AFTER), help="only this; several times"
    )
    parser.add_argument(
        "--work", type=Path, default=Path("runs/real_results"), help="folder of runs (default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=4000, help="of pre-training (default: %(default)s)")
    arguments = parser.parse_args()
    if "M5JAX_DATA" not in os.environ:
        parser.error("the environment variable M5JAX_DATA names the folder of the data, and is not set")
    bench = Bench(Path(os.environ["M5JAX_DATA"]), arguments.work.resolve())
    published(bench)
    pretrain(bench, arguments.steps)
    for parts in (PARTS, AFTER):
        chosen = {name: part for name, part in parts.items() if arguments.part is None or name in arguments.part}
        run_jobs(bench, {(name, key): job for name, part in chosen.items() for key, job in part(bench).items()})


if __name__ == "__main__":
    main()

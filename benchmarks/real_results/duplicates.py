"""Product matching: with all labels and with few, from the pre-trained model and from scratch."""

import csv
import json
import random
from collections.abc import Mapping

from benchmarks.real_results.bench import SEEDS, Bench, Jobs, Row, refuse, settings
from m5jax.data.readers import read_rows

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


def duplicates(bench: Bench) -> Jobs:
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
    rows = sum(1 for _ in read_rows(files["train"], on_bad=refuse))
    batch_size = 32 if rows >= 1000 else 16
    # Few labels are seen more often.
    steps = max(60, round(min(10, max(3, 15_000 / rows)) * rows / batch_size))
    length = 128 if name.split("/")[1] in LONG else 64
    flags = settings(length=length, batch_size=batch_size, steps=steps, log_every=50, dropout_rate=0.1)
    # What is learned already is to be kept where labels are few.
    peak = "5e-4" if rows < 1000 and start == "pretrained" else "1e-3"
    flags += [f"--gin.FineTuning.evaluate_every={steps // 5}", f"--gin.Cosine.peak={peak}", f"--seed={seed}"]
    flags += ["--column", f"title={title}", "--default", "language=en"]
    flags += ["--from_scratch"] if start == "scratch" else []
    name = f"{name}_{start}_{seed}"
    begin = bench.pretrained if start == "masked_lm" else bench.matching
    bench.finetune(name, begin, "joint", files["train"], files["valid"], *flags)
    found = bench.evaluate(name, files["test"], "test", "--overlap=allow", "--samples=500")["all"]
    return {"f1": found["f1"], "interval": found["f1 interval"], "rows": rows}


def labels(bench: Bench) -> Jobs:
    size, title = DUPLICATES[LABELS_OF]
    files = _duplicate_files(bench, LABELS_OF, size)
    fewer = {
        (count, seed): {**files, "train": _some(bench, files["train"], count, seed)}
        for count in LABELS
        for seed in SEEDS
    }
    jobs: Jobs = {
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
    rows = [dict(row) for _, row in read_rows(path, on_bad=refuse)]
    random.Random(seed).shuffle(rows)
    fitting = [row for row in rows if row["label"] == 1]
    others = [row for row in rows if row["label"] == 0]
    share = max(2, round(count * len(fitting) / len(rows)))
    chosen = fitting[:share] + others[: count - share]
    output.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in chosen), encoding="utf-8")
    return str(output)


def add_published(bench: Bench) -> None:
    """Adds the F1 of others, in percent, of the same splits."""
    with (bench.data / "duplicates" / "published_f1.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for benchmark, (size, _) in DUPLICATES.items():
        name, setting = benchmark.removesuffix(f"_{size}") if size else benchmark, size or "full train split"
        own = [row for row in rows if row["benchmark"] == name and row["setting"] == setting]
        figures = {row["model"].partition(" (best")[0]: float(row["f1"]) for row in own}
        bench.results.add("published", benchmark, {model: figures[model] for model in ("DeepMatcher", "Ditto")})

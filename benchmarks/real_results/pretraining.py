"""A vocabulary, masked-LM pre-training, and matching of pairs made of the catalog without labels."""

import json
import subprocess
import sys
from collections.abc import Callable

from benchmarks.real_results.bench import REPOSITORY, Bench, Jobs, Row, run, settings, timed

SELF_LABELLED = 60_000
CHARACTERS = 600  # of a product in the vocabulary's sample


def pretrain(bench: Bench, steps: int) -> None:
    """Makes what all other parts begin with, step after step."""
    _once(bench, "vocabulary", lambda: _vocabulary(bench))
    _once(bench, "masked_lm", lambda: _masked_lm(bench, steps))
    _once(bench, "pairs", lambda: _pairs(bench))
    _once(bench, "matching", lambda: _matching(bench, "matching"))


def _once(bench: Bench, name: str, make: Callable[[], Row]) -> None:
    if not bench.results.has("pretrain", name):
        bench.results.add("pretrain", name, timed(make))


def _vocabulary(bench: Bench) -> Row:
    if not bench.vocabulary.exists():
        texts = bench.rows("products", "products", "product_texts", _product_text)
        inputs = [texts, *(bench.file("text", f"{language}.train") for language in ("en", "de", "ar"))]
        flags = ["--size=8192", "--sentences=60000", "--alpha=0.5", f"--output={bench.vocabulary}"]
        run(["vocabulary", "train", *(f"--input={path}" for path in inputs), *flags])
    return {}


def _pairs(bench: Bench) -> Row:
    products = bench.rows("products", "products", "products", _product)
    for split, count, seed in (("train", SELF_LABELLED, 0), ("valid", SELF_LABELLED // 30, 1)):
        path = bench.work / f"pairs_{split}.jsonl"
        if not path.exists():
            run(["data", "pairs", f"--input={products}", f"--count={count}", f"--output={path}", f"--seed={seed}"])
    return {}


def _matching(bench: Bench, name: str, *more: str) -> Row:
    """Returns what pairs made of the catalog are told apart by, after fine-tuning on others."""
    train, valid = (str(bench.work / f"pairs_{split}.jsonl") for split in ("train", "valid"))
    flags = settings(length=64, batch_size=64, epochs=1.0, log_every=50, dropout_rate=0.1)
    flags += ["--gin.Cosine.peak=1e-3", "--gin.Cosine.warmup_steps=100", *more]
    bench.finetune(name, bench.pretrained, "joint", train, valid, *flags)
    return {"valid": bench.result(name)}


def comparison(bench: Bench) -> Jobs:
    return {"without": (_matching, "matching_without", "--gin.JointTask.compare=False")}


def _masked_lm(bench: Bench, steps: int) -> Row:
    gin = {"RUN_DIR": str(bench.pretrained), "VOCABULARY": str(bench.vocabulary), "TRAIN_STEPS": steps}
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

"""Queries with judged products in files, and fine-tunings of a few steps on them."""

import json
import random
from pathlib import Path
from typing import Any

from m5jax.cli.main import main
from tests.configuration.pretrained_run import BRANDS, THINGS, write_rows

Row = dict[str, Any]


def judged_rows(seed: int, queries: int = 10, each: int = 5) -> list[Row]:
    """Returns queries for a brand's thing, each with products of which some are that."""
    generator = random.Random(seed)
    rows = []
    for _ in range(queries):
        brand, thing, weight = generator.choice(BRANDS), generator.choice(THINGS), generator.randrange(1, 4)
        for place in range(each):
            fits = place % 2 == 0
            other = thing if fits else generator.choice(THINGS)
            product = {"title": f"{other} {brand}", "attributes": {"model": str(generator.randrange(100, 10_000))}}
            row = {"left": f"{brand} {thing} {seed}", "right": product, "weight": weight}
            rows.append({**row, "label": int(other == thing)})
    return rows


def write_files(folder: Path) -> dict[str, str]:
    """Writes rows to train on, to validate and to test, rows that all fit, and products; returns the paths."""
    rows = {name: judged_rows(seed) for seed, name in enumerate(("train", "valid", "test"))}
    products = [row["right"] for row in judged_rows(9, queries=30)]
    rows["products"] = [{"id": str(place), "language": "en", **product} for place, product in enumerate(products)]
    rows["all_fit"] = [row for row in judged_rows(4) if row["label"]]
    return {name: write_rows(folder / f"{name}.jsonl", own) for name, own in rows.items()}


def finetune(run_dir: Path, files: dict[str, str], recipe: str, *more: str) -> int:
    settings = {"steps": 2, "batch_size": 8, "length": 32, "evaluate_every": 1, "log_every": 1}
    flags = [f"--gin.FineTuning.{name}={value}" for name, value in settings.items()]
    data = [f"--train={files['train']}", f"--valid={files['valid']}"]
    return main(["finetune", f"--recipe={recipe}", f"--run_dir={run_dir}", *data, *flags, *more])


def ngrams(run_dir: Path, files: dict[str, str], width: int) -> Path:
    sizes = [f"--gin.HashedNgrams.{name}={size}" for name, size in (("width", width), ("most", 40), ("buckets", 50))]
    assert finetune(run_dir, files, "hashed_ngrams", *sizes) == 0
    return run_dir


def texts_of(files: dict[str, str], name: str) -> list[Row]:
    """Returns the rows of a file with products as texts."""
    rows = [json.loads(line) for line in Path(files[name]).read_text(encoding="utf-8").splitlines()]
    for row in rows:
        product = row.get("right", row)
        row["right"] = f"<title> {product['title']}<attribute> model<value> {product['attributes']['model']}"
        row["left"] = f"<title> {row.get('left', '')}"
    return rows

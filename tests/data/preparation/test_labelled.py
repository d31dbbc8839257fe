"""Fine-tuning sets keep every pair that is not the same as another, however alike its two sides are."""

import json
import os
import random
from pathlib import Path

import pytest
import zstandard

from m5jax.data.preparation.filters import QualityFilters
from m5jax.data.preparation.language import LanguageIdentification
from m5jax.data.preparation.near_duplicates import NearDuplicates
from m5jax.data.preparation.normalize import normalize_text
from m5jax.data.preparation.pipeline import prepare
from m5jax.data.preparation.settings import Preparation
from m5jax.errors import UserError
from tests.data.preparation.conftest import read_shards, sentence, write_rows

REAL_PAIRS = Path(os.environ.get("M5JAX_DATA", "-")) / "duplicates" / "abt_buy.train.jsonl.zst"


def normalized(value):
    if isinstance(value, str):
        return normalize_text(value)
    if isinstance(value, dict):
        return {name: normalized(item) for name, item in value.items()}
    return [normalized(item) for item in value] if isinstance(value, list) else value


def whole(row):
    return json.dumps(row, sort_keys=True)


def prepared_rows(source: Path, output: Path):
    statistics = prepare(Preparation(input=str(source), output=str(output), kind="labelled"))
    return statistics, [row for rows in read_shards(output).values() for row in rows]


def test_near_duplicates_within_and_between_pairs_stay(tmp_path):
    generator = random.Random(0)
    rows = []
    for index in range(120):
        title = sentence("en", generator, 30)
        rows.append({"left": {"title": title, "price": 3.5}, "right": {"title": f"{title}!"}, "label": 1})
        rows.append({"left": {"title": f"{title} {index}"}, "right": {"title": title}, "label": index % 2})
    rows += [{"left": {"title": "x"}, "right": {"title": "x"}, "label": label} for label in (0, 1)]
    again = [{"label": row["label"], "right": row["right"], "left": row["left"]} for row in rows[:7]]
    spaced = [{**rows[8], "left": {**rows[8]["left"], "title": f" {rows[8]['left']['title']}\u200b"}}]
    write_rows(tmp_path / "pairs.jsonl", rows + again + spaced)
    statistics, kept = prepared_rows(tmp_path / "pairs.jsonl", tmp_path / "out")
    assert sorted(map(whole, kept)) == sorted(map(whole, rows))
    assert statistics["dropped"] == {"exact_duplicate": 8}


@pytest.mark.skipif(not REAL_PAIRS.is_file(), reason="M5JAX_DATA names no folder with duplicates/")
def test_no_distinct_real_pair_is_lost(tmp_path):
    with zstandard.open(REAL_PAIRS, "rt", encoding="utf-8") as lines:
        distinct = {whole(normalized(json.loads(line))) for line in lines}
    _, kept = prepared_rows(REAL_PAIRS, tmp_path / "out")
    assert sorted(map(whole, kept)) == sorted(distinct)


def test_a_language_column_makes_folders(tmp_path):
    rows = [{"q": f"question {index}", "locale": ("EN", "de-DE")[index % 2], "label": index} for index in range(10)]
    write_rows(tmp_path / "rows.jsonl", rows)
    settings = Preparation(
        input=str(tmp_path / "rows.jsonl"),
        output=str(tmp_path / "out"),
        kind="labelled",
        column_mapping={"language": "locale"},
        validation_fraction=0.0,
    )
    prepare(settings)
    shards = read_shards(tmp_path / "out")
    assert {key: len(value) for key, value in shards.items()} == {("en", "train"): 5, ("de-de", "train"): 5}


@pytest.mark.parametrize(
    "step",
    [
        {"near_duplicates": NearDuplicates()},
        {"filters": QualityFilters()},
        {"languages": LanguageIdentification(("en",))},
    ],
    ids=lambda step: next(iter(step)),
)
def test_steps_that_would_lose_pairs_are_refused(step):
    with pytest.raises(UserError, match=f"Preparation.{next(iter(step))} is set for labelled rows"):
        Preparation(input="pairs.jsonl", output="out", kind="labelled", **step)

"""Public data sets of labelled rows, by invented rows in their real schema."""

import csv
import gzip
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("M5JAX_DATA", str(tmp_path))
    monkeypatch.setenv("M5JAX_CACHE", str(tmp_path / "cache"))
    return tmp_path


def records(name: str, split: str) -> list[Any]:
    """Returns what a task of a corpus reads; the task's own corpus is kept from an earlier test otherwise."""
    import seqio

    import tasks  # noqa: F401

    source = seqio.TaskRegistry.get(name).source
    # Tests have folders of their own, but a task reads its corpus once a process.
    source.corpus.cache_clear()
    for step in seqio.TaskRegistry.get(name).preprocessors:
        if hasattr(step, "corpus"):
            step.corpus.cache_clear()
    return list(source.corpus().records(source.language, split))


def write_csv(path: Path, rows: Iterable[dict[str, object]]) -> None:
    rows = list(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_esci(folder: Path) -> None:
    (folder / "esci").mkdir()
    asins = [f"B{index:04}" for index in range(8)]
    products = {
        "product_id": [*asins, asins[0]],
        "product_title": [*(f"Mug {index}" for index in range(8)), "Taza"],
        "product_description": [None, *["<p>nice</p>"] * 8],
        "product_bullet_point": ["hot\ncold", *[None] * 8],
        "product_brand": ["Acme", *[None] * 8],
        "product_color": ["Red", *[None] * 8],
        "product_locale": [*["us"] * 8, "es"],
    }
    pyarrow.parquet.write_table(pyarrow.table(products), folder / "esci" / "shopping_queries_dataset_products.parquet")
    examples = [
        {
            "example_id": index,
            "query": f"mug {index // 2}" if index < 8 else "taza",
            "query_id": index // 2,
            "product_id": asins[index % 8],
            "product_locale": "us" if index < 8 else "es",
            "esci_label": "ESCI"[index % 4],
            "small_version": int(index % 2 == 0),
            "large_version": 1,
            "split": "test" if index in (6, 7) else "train",
        }
        for index in range(9)
    ]
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist(examples), folder / "esci" / "shopping_queries_dataset_examples.parquet"
    )
    found = {split: records("esci_en_relevance", split) for split in ("train", "test")}
    assert [(r.query, r.product.title, r.label) for r in found["test"]] == [
        ("mug 3", "Mug 6", "complement"),
        ("mug 3", "Mug 7", "irrelevant"),
    ]
    assert len(found["train"]) == 6
    (first,) = [r.product for r in found["train"] if r.product.title == "Mug 0"]
    assert (first.bullets, first.attributes) == (("hot", "cold"), {"brand": "Acme", "color": "Red"})
    assert [(r.query, r.product.title) for r in records("esci_es_relevance", "train")] == [("taza", "Taza")]
    assert {r.id for r in records("esci_products_es_mlm", "train")} == {"B0000"}
    assert len(records("esci_small_en_relevance", "train")) == 3
    assert all(not r.product.attributes for r in found["test"])


def test_massive(folder: Path) -> None:
    from tasks.massive import tagged

    rows = [
        {
            "id": str(index),
            "locale": "de-DE",
            "partition": ("train", "dev", "test")[index % 3],
            "scenario": "alarm",
            "intent": "alarm_set",
            "utt": "weck mich diese woche um fünf uhr auf",
            "annot_utt": "weck mich [date : diese woche] um [time : fünf uhr] auf",
            "worker_id": "8",
        }
        for index in range(6)
    ]
    (folder / "massive").mkdir()
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "massive" / "de-DE.jsonl").write_text(text, encoding="utf-8")
    for split in ("train", "validation", "test"):
        found = records("massive_de_de_intent_and_slots", split)
        assert len(found) == 2
        assert found[0].tokens == ("weck", "mich", "diese", "woche", "um", "fünf", "uhr", "auf")
        assert found[0].tags == ("O", "O", "B-date", "I-date", "O", "B-time", "I-time", "O")
        assert found[0].intent == "alarm_set"
    unspaced = tagged({"annot_utt": "[time : 五点]叫醒我"})
    assert (unspaced["tokens"], unspaced["tags"]) == (["五点", "叫醒我"], ["B-time", "O"])
    from m5jax.data.records import BadRecord

    with pytest.raises(BadRecord, match="a bracket that is not of the form"):
        tagged({"annot_utt": "wake me at [time nine"})


def test_magellan(folder: Path) -> None:
    home = folder / "magellan" / "Abt-Buy"
    write_csv(home / "tableA.csv", ({"id": i, "name": f"a{i}", "description": "x", "price": ""} for i in range(9)))
    write_csv(home / "tableB.csv", ({"id": i, "name": f"b{i}", "description": "", "price": "$3"} for i in range(9)))
    for split, start in (("train", 0), ("valid", 3), ("test", 6)):
        pairs = ({"ltable_id": i, "rtable_id": 8 - i, "label": i % 2} for i in range(start, start + 3))
        write_csv(home / f"{split}.csv", pairs)
    found = records("magellan_abt_buy_en_duplicates", "validation")
    assert [(r.left.title, r.right.title, r.right.attributes, r.label) for r in found] == [
        ("a3", "b5", {"price": "$3"}, "duplicate"),
        ("a4", "b4", {"price": "$3"}, "different"),
        ("a5", "b3", {"price": "$3"}, "duplicate"),
    ]


def test_wdc(folder: Path) -> None:
    rows = [
        {
            "id_left": 1,
            "category_left": "Shoes",
            "cluster_id_left": 77,
            "brand_left": "Nike",
            "title_left": f"Nike {index}",
            "description_left": None,
            "price_left": None,
            "specTableContent_left": None,
            "keyValuePairs_left": {"size": "42"},
            "id_right": 2,
            "category_right": "Shoes",
            "cluster_id_right": 78,
            "brand_right": None,
            "title_right": "Nike Air",
            "description_right": "good",
            "price_right": "USD 3",
            "specTableContent_right": None,
            "keyValuePairs_right": None,
            "label": index % 2,
            "pair_id": "1#2",
        }
        for index in range(40)
    ]
    (folder / "wdc").mkdir()
    for name in ("shoes_train_small", "shoes_gs"):
        with gzip.open(folder / "wdc" / f"{name}.json.gz", "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    test = records("wdc_shoes_small_en_duplicates", "test")
    assert len(test) == 40
    assert test[0].left.attributes == {"brand": "Nike", "keyValuePairs": "{'size': '42'}"}
    assert (test[0].right.description, test[0].right.attributes) == ("good", {"price": "USD 3"})
    assert "77" not in test[0].to_json()
    assert len(records("wdc_shoes_small_en_duplicates", "train")) < 40


@pytest.mark.skipif("M5JAX_DATA" not in os.environ, reason="needs the folder that M5JAX_DATA names")
@pytest.mark.parametrize(
    ("task", "counts"),
    [
        ("abt_buy_duplicates", {"train": 5743, "validation": 1916, "test": 1916}),
        ("home_depot_relevance", {"train": 59330, "validation": 7581, "test": 7156}),
        ("snips_intent_and_slots", {"test": 700}),
        ("open_bandit_men_bts_clicks", {"train": 8000, "validation": 1000, "test": 1000}),
        ("ae110k_attribute_spans", {"test": 524}),
    ],
)
def test_real_rows(task: str, counts: dict[str, int]) -> None:
    import tasks  # noqa: F401
    from m5jax.data.default_vocabulary import default_vocabulary
    from m5jax.data.labels import mixture_labels
    from m5jax.data.mixtures import find_tasks, record_count
    from m5jax.data.pipeline import training_batches
    from m5jax.data.vocabulary import set_current_vocabulary

    (found,) = find_tasks(task)
    # As many as were published: nothing is dropped from rows to fine-tune on.
    assert {split: record_count(found, split) for split in counts} == counts
    set_current_vocabulary(default_vocabulary("embedded_catalog_mlm"), mixture_labels(task))
    batch = next(training_batches(task, length=128, batch_size=4, seed=0))
    assert (batch["targets"][batch["loss_weights"] > 0] >= 2560).all()
    assert np.all(batch["loss_weights"].sum(axis=1) > 0)

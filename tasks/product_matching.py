"""Product matching in the layouts that its benchmarks are published in.

Magellan / DeepMatcher (github anhaidgroup/deepmatcher, Datasets.md; a few MB each): put a data set's `tableA.csv`,
`tableB.csv`, `train.csv`, `valid.csv` and `test.csv` into `$M5JAX_DATA/magellan/NAME/`: `magellan_NAME_duplicates`.

WDC product corpus for large-scale matching v2 (webdatacommons.org/largescaleproductcorpus/v2; up to 1 GB): put
`CATEGORY_train_SIZE.json.gz` and `CATEGORY_gs.json.gz` into `$M5JAX_DATA/wdc/`: `wdc_CATEGORY_SIZE_duplicates`. A tenth
of the training pairs is for validation.
"""

import functools
from collections.abc import Mapping
from typing import Any

from m5jax.data.corpus import Corpus, ingest_corpus
from m5jax.data.join import Join
from m5jax.data.labelled_tasks import add_labelled_tasks
from tasks.data_folder import data_folder

# By the name of the folder: the column of the title.
MAGELLAN = {
    "Abt-Buy": "name",
    "Amazon-Google": "title",
    "Walmart-Amazon": "title",
    "Beer": "Beer_Name",
    "iTunes-Amazon": "Song_Name",
}
WDC_CATEGORIES = ("computers", "cameras", "watches", "shoes", "all")
WDC_SIZES = ("small", "medium", "large", "xlarge")
_VALIDATION_FRACTION = 0.1
_WDC_ATTRIBUTES = ("brand", "price", "specTableContent", "keyValuePairs")


def _magellan(name: str) -> Corpus:
    folder = data_folder() / "magellan" / name
    joins = (
        Join("left", ("ltable_id",), str(folder / "tableA.csv"), ("id",)),
        Join("right", ("rtable_id",), str(folder / "tableB.csv"), ("id",)),
    )
    return ingest_corpus(
        f"magellan_{_task_name(name)}",
        {"train": folder / "train.csv", "validation": folder / "valid.csv", "test": folder / "test.csv"},
        kind="pair",
        column_mapping={"title": MAGELLAN[name]},
        defaults={"language": "en"},
        joins=joins,
    )


def two_sided(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns a row of `title_left`, `title_right`, ... with a product on each side."""
    sides = {}
    for side in ("left", "right"):
        own = {name.removesuffix(f"_{side}"): value for name, value in row.items() if name.endswith(f"_{side}")}
        # Ids of clusters are the answer.
        kept = {name: own[name] for name in ("title", "description", "category") if own.get(name)}
        attributes = {name: str(own[name]) for name in _WDC_ATTRIBUTES if own.get(name)}
        sides[side] = {**kept, "attributes": attributes} if attributes else kept
    return {**sides, "label": row["label"]}


def _wdc(category: str, size: str) -> Corpus:
    folder = data_folder() / "wdc"
    return ingest_corpus(
        f"wdc_{category}_{size}",
        {"train": folder / f"{category}_train_{size}.json.gz", "test": folder / f"{category}_gs.json.gz"},
        kind="pair",
        defaults={"language": "en"},
        validation_fraction=_VALIDATION_FRACTION,
        rewrite=two_sided,
    )


def _task_name(name: str) -> str:
    return name.lower().replace("-", "_")


for _name in MAGELLAN:
    add_labelled_tasks(f"magellan_{_task_name(_name)}", functools.partial(_magellan, _name), ("en",), "duplicates")
for _category in WDC_CATEGORIES:
    for _size in WDC_SIZES:
        add_labelled_tasks(f"wdc_{_category}_{_size}", functools.partial(_wdc, _category, _size), ("en",), "duplicates")

"""Shopping Queries (ESCI): 2.6 million graded pairs of query and product in three languages (arXiv 2206.06588).

Put `shopping_queries_dataset_examples.parquet` and `shopping_queries_dataset_products.parquet` of github
amazon-science/esci-data (Apache-2.0, 1.2 GB, Git LFS) into `$M5JAX_DATA/esci/`. The published test split is kept; 2% of
the training queries are for validation.

`esci_{en,es,ja}_relevance`, and `esci_relevance` of all; `esci_small_{en,es,ja}_relevance` of the reduced version; the
products are `esci_products_{en,es,ja}_OBJECTIVE`.
"""

import functools
from collections.abc import Mapping
from typing import Any

from m5jax.data.corpus import SPLIT_KEY, Corpus, ingest_corpus
from m5jax.data.field_reader import BadRecord
from m5jax.data.join import Join
from m5jax.data.labelled_tasks import add_labelled_tasks
from m5jax.data.read_records import Rewrite
from m5jax.data.task_builders import add_language_tasks, add_product_tasks
from tasks.data_folder import data_folder

LANGUAGES = {"us": "en", "es": "es", "jp": "ja"}
GRADES = {"E": "exact", "S": "substitute", "C": "complement", "I": "irrelevant"}
_COLUMNS = {"title": "product_title", "description": "product_description", "bullets": "product_bullet_point"}
_VALIDATION_FRACTION = 0.02

Row = Mapping[str, Any]


def graded(row: Row) -> Row:
    """Returns a row with our names of grade and language, and the product's attributes together."""
    if row["esci_label"] not in GRADES:
        raise BadRecord(f"esci_label {row['esci_label']!r} is none of {', '.join(GRADES)}")
    return {
        **row,
        "language": _language(row),
        "grade": GRADES[row["esci_label"]],
        "product": with_attributes(row["product"]),
    }


def with_attributes(product: Row) -> Row:
    """Returns a product with brand and color as attributes, and its language."""
    attributes = {"brand": product.get("product_brand"), "color": product.get("product_color")}
    return {**product, "attributes": attributes, "language": _language(product)}


def _language(row: Row) -> str:
    if row["product_locale"] not in LANGUAGES:
        raise BadRecord(f"product_locale {row['product_locale']!r} is none of {', '.join(LANGUAGES)}")
    return LANGUAGES[row["product_locale"]]


def graded_small(row: Row) -> Row | None:
    """Returns a row of the reduced version, on which the ranking task of the paper is, as `graded`."""
    return graded(row) if row["small_version"] == 1 else None


def _judgements(name: str, rewrite: Rewrite) -> Corpus:
    key = ("product_id", "product_locale")
    products = str(data_folder() / "esci" / "shopping_queries_dataset_products.parquet")
    return ingest_corpus(
        name,
        {"train": data_folder() / "esci" / "shopping_queries_dataset_examples.parquet"},
        kind="judgement",
        column_mapping={**_COLUMNS, "label": "grade", "split": "split", SPLIT_KEY: "query_id"},
        validation_fraction=_VALIDATION_FRACTION,
        joins=(Join("product", key, products, key),),
        rewrite=rewrite,
    )


def _products() -> Corpus:
    return ingest_corpus(
        "esci_products",
        {"train": data_folder() / "esci" / "shopping_queries_dataset_products.parquet"},
        column_mapping={**_COLUMNS, "id": "product_id", "locale": "product_locale"},
        rewrite=with_attributes,
    )


for _name, _rewrite in (("esci", graded), ("esci_small", graded_small)):
    add_labelled_tasks(_name, functools.partial(_judgements, _name, _rewrite), tuple(LANGUAGES.values()), "relevance")
add_language_tasks("esci_products", _products, tuple(LANGUAGES.values()))
add_product_tasks("esci_products", _products, tuple(LANGUAGES.values()))

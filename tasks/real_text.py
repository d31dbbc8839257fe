"""Denoising of the text and the catalogs in the folder that the environment variable M5JAX_DATA names.

    $M5JAX_DATA/text/LANGUAGE.{train,valid}.jsonl.zst     `text_LANGUAGE_OBJECTIVE`
    $M5JAX_DATA/products/debian_catalogue.jsonl.zst       `debian_catalogue_LANGUAGE_OBJECTIVE`
    $M5JAX_DATA/products/products.jsonl.zst               `products_en_OBJECTIVE`

for each of `OBJECTIVES` (mlm, span_corruption, ...), and the mixtures `text_OBJECTIVE` (every language),
`multilingual_text_OBJECTIVE` (English, German, Arabic), `debian_catalogue_OBJECTIVE`, `products_OBJECTIVE`, and
`catalog_and_text_OBJECTIVE` (products, and text of the three languages). Products that pairs of a benchmark's test
split are of (`benchmark_splits`) are left out.
Products also have the labelled tasks `product_type` and `attribute_spans`. The variable is read, and the files have to
be there, when one of them is first used.
"""

import functools
from collections.abc import Mapping
from typing import Any

from m5jax.data.corpus import Corpus, ingest_corpus
from m5jax.data.labelled_tasks import add_labelled_tasks
from m5jax.data.mixtures import add_mixture
from m5jax.data.task_builders import OBJECTIVES, add_language_tasks, add_product_tasks, add_task
from tasks.data_folder import data_folder

TEXT_LANGUAGES = ("en", "de", "ar", "fr", "es", "it", "pt", "hi")
MULTILINGUAL = ("en", "de", "ar")
CATALOG_AND_TEXT = {"products_en": 0.5, "text_en": 0.2, "text_de": 0.15, "text_ar": 0.15}
CATALOG_LANGUAGES = {"debian_catalogue": ("en", "de", "fr", "es", "it", "pt"), "products": ("en",)}


def _text(language: str) -> Corpus:
    files = {"train": f"{language}.train.jsonl.zst", "validation": f"{language}.valid.jsonl.zst"}
    sources = {split: data_folder() / "text" / file for split, file in files.items()}
    return ingest_corpus(f"text_{language}", sources, kind="text")


def without_test_items(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Leaves out the products that models are tested on."""
    return None if "test" in (row.get("benchmark_splits") or ()) else row


def _catalog(name: str) -> Corpus:
    file = data_folder() / "products" / f"{name}.jsonl.zst"
    return ingest_corpus(name, {"train": file}, column_mapping={"language": "lang"}, rewrite=without_test_items)


# A corpus for each language, so that a run on three languages does not wait for the others to be read.
for _objective, _steps in OBJECTIVES.items():
    for _language in TEXT_LANGUAGES:
        add_task(f"text_{_language}_{_objective}", functools.partial(_text, _language), _language, _steps)
    add_mixture(f"text_{_objective}", [f"text_{language}_{_objective}" for language in TEXT_LANGUAGES])
    add_mixture(f"multilingual_text_{_objective}", [f"text_{language}_{_objective}" for language in MULTILINGUAL])

for _name, _languages in CATALOG_LANGUAGES.items():
    add_language_tasks(_name, functools.partial(_catalog, _name), _languages)
    add_product_tasks(_name, functools.partial(_catalog, _name), _languages)
    for _family in ("product_type", "attribute_spans"):
        add_labelled_tasks(_name, functools.partial(_catalog, _name), _languages, _family)

for _objective in OBJECTIVES:
    _members = {f"{_name}_{_objective}": _share for _name, _share in CATALOG_AND_TEXT.items()}
    add_mixture(f"catalog_and_text_{_objective}", _members)

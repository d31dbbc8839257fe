"""The embedded catalog: `embedded_catalog_{en,de,ar}_OBJECTIVE` and the mixtures `embedded_catalog_OBJECTIVE`.

Of labelled tasks there is an encoder's form, `embedded_catalog_en_relevance`, and a written one, `..._relevance_text`.
"""

import functools
from collections.abc import Callable

from m5jax.data.corpus import Corpus
from m5jax.data.default_vocabulary import register_default_vocabulary
from m5jax.data.embedded_catalog.corpus import (
    embedded_catalog_clicks,
    embedded_catalog_corpus,
    embedded_catalog_labels,
    embedded_catalog_vocabulary,
)
from m5jax.data.labelled_tasks import FAMILIES, add_labelled_tasks
from m5jax.data.mixtures import add_mixture
from m5jax.data.task_builders import (
    ATTRIBUTE_FORMATS,
    OBJECTIVES,
    PRODUCT_PAIRS,
    VALUE_MASKINGS,
    add_language_tasks,
    add_product_tasks,
)

LANGUAGES = ("en", "de", "ar")

add_language_tasks("embedded_catalog", embedded_catalog_corpus, LANGUAGES)
add_product_tasks("embedded_catalog", embedded_catalog_corpus, LANGUAGES)


def _labelled(family: str) -> Callable[[], Corpus]:
    if family == "clicks":
        return embedded_catalog_clicks
    kind = FAMILIES[family].kind
    return embedded_catalog_corpus if kind == "product" else functools.partial(embedded_catalog_labels, kind)


for _family in FAMILIES:
    add_labelled_tasks("embedded_catalog", _labelled(_family), LANGUAGES, _family)

# Pre-training and all that the encoder can be taught with labels, together.
add_mixture(
    "embedded_catalog_multitask",
    {"embedded_catalog_mlm": 1.0, **{f"embedded_catalog_{family}": 1 / len(FAMILIES) for family in FAMILIES}},
)
# Graded results teach what goes with what, of which clicks, few and noisy, say little.
add_mixture("embedded_catalog_search", {"embedded_catalog_relevance": 4.0, "embedded_catalog_clicks": 1.0})
for _mixture in ("multitask", "search"):
    register_default_vocabulary(f"embedded_catalog_{_mixture}", embedded_catalog_vocabulary)

_LABELLED = (*FAMILIES, *(f"{family}_text" for family in FAMILIES))
for _objective in (*OBJECTIVES, *ATTRIBUTE_FORMATS, *VALUE_MASKINGS, *PRODUCT_PAIRS, *_LABELLED):
    for _part in ("", *(f"_{language}" for language in LANGUAGES)):
        register_default_vocabulary(f"embedded_catalog{_part}_{_objective}", embedded_catalog_vocabulary)

"""The embedded catalog: `embedded_catalog_{en,de,ar}_OBJECTIVE` and the mixtures `embedded_catalog_OBJECTIVE`."""

from m5jax.data.default_vocabulary import register_default_vocabulary
from m5jax.data.embedded_catalog.corpus import embedded_catalog_corpus, embedded_catalog_vocabulary
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
for _objective in (*OBJECTIVES, *ATTRIBUTE_FORMATS, *VALUE_MASKINGS, *PRODUCT_PAIRS):
    for _part in ("", *(f"_{language}" for language in LANGUAGES)):
        register_default_vocabulary(f"embedded_catalog{_part}_{_objective}", embedded_catalog_vocabulary)

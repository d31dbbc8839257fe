"""Masked LM on the embedded catalog: `embedded_catalog_{en,de,ar}_mlm` and their mixture `embedded_catalog_mlm`."""

from m5jax.data.default_vocabulary import register_default_vocabulary
from m5jax.data.embedded_catalog.corpus import embedded_catalog_corpus, embedded_catalog_vocabulary
from m5jax.data.task_builders import add_masked_lm_tasks

LANGUAGES = ("en", "de", "ar")

add_masked_lm_tasks("embedded_catalog", embedded_catalog_corpus, LANGUAGES)
for _name in ("embedded_catalog_mlm", *(f"embedded_catalog_{language}_mlm" for language in LANGUAGES)):
    register_default_vocabulary(_name, embedded_catalog_vocabulary)

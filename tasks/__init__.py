"""The SeqIO tasks that come with m5jax; importing this package registers them. It reads no data.

    embedded_catalog_    6,000 products in English, German and Arabic, made by m5jax itself
    text_, multilingual_text_, debian_catalogue_, products_    files in the folder M5JAX_DATA (real_text)
    abt_buy_, home_depot_, snips_, ...    labelled rows in that folder (real_labels)
    esci_, massive_, magellan_, wdc_    public sets of labelled rows in that folder (esci, massive, product_matching)
    c4_, mc4_, wikipedia_    text of the web, prepared by TensorFlow Datasets in the folder TFDS_DATA_DIR (web_text)

A run names its task modules in gin (`TASK_MODULES = ("tasks", "my_tasks")`), so a module of your own is their equal.
Ten lines make a catalog file trainable, here with columns that have other names than ours:

    from m5jax.data.corpus import ingest_corpus
    from m5jax.data.task_builders import add_language_tasks

    def my_catalog():
        return ingest_corpus(
            "my_catalog",
            {"train": "offers/*.parquet"},  # or .jsonl, .jsonl.gz, .jsonl.zst, .csv
            column_mapping={"id": "sku", "language": "lang", "title": "name", "category": "breadcrumb"},
        )

    add_language_tasks("my_catalog", my_catalog, languages=("en", "de"))

registers `my_catalog_en_mlm`, `my_catalog_de_mlm` and the mixture `my_catalog_mlm`. A TFDS data set is read so too:

    def glue_sentences():
        return ingest_corpus(
            "glue_sentences",
            {"train": "tfds:glue/sst2/train", "validation": "tfds:glue/sst2/validation"},
            kind="text",
            column_mapping={"text": "sentence"},
            defaults={"lang": "en"},
        )

    add_language_tasks("glue_sentences", glue_sentences, languages=("en",))
"""

from tasks import embedded_catalog, esci, massive, product_matching, real_labels, real_text, web_text

__all__ = ["embedded_catalog", "esci", "massive", "product_matching", "real_labels", "real_text", "web_text"]

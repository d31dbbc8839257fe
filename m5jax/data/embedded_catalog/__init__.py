"""A small made-up product catalog in English, German and Arabic with planted truth: a demo that needs no download.

Brands and attribute structure are shared by the locales, texts are each locale's own. See `writer` for the files.
"""

from m5jax.data.embedded_catalog.writer import FILES, VERSION, embedded_catalog_directory, write_embedded_catalog

__all__ = ["FILES", "VERSION", "embedded_catalog_directory", "write_embedded_catalog"]

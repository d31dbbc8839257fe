"""The locales of the catalog. Every translated text is a triple in this order: English, German, Arabic."""

from typing import TypeAlias

Translated: TypeAlias = tuple[str, str, str]

LANGUAGES = ("en", "de", "ar")
LOCALES = ("en_US", "de_DE", "ar_AE")


def translated(text: str) -> Translated:
    """Reads `english|german|arabic`."""
    english, german, arabic = (part.strip() for part in text.split("|"))
    return english, german, arabic

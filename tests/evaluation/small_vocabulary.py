"""Vocabularies with few pieces, so that words have several, for texts in three scripts."""

from pathlib import Path

import numpy as np

from m5jax.data.vocabulary import EOS_ID, Vocabulary, train_vocabulary

TEXTS = {
    "en": "<title> stainless kettle with removable filter<attribute> color<value> dark red<attribute> size<value> 5 l",
    "de": "<title> Edelstahlwasserkocher mit Kalkfilter<attribute> Farbe<value> rot<attribute> Serie<value> Fjord 800",
    "ar": "<title> غلاية كهربائية بالفولاذ المقاوم للصدأ<attribute> اللون<value> أحمر داكن",
}


def small_vocabulary(folder: Path, size: int = 470) -> Vocabulary:
    texts = {language: [text] * 20 for language, text in TEXTS.items()}
    return train_vocabulary(texts, dict.fromkeys(texts, 20), size=size, output=folder / f"{size}.model")


def tokens_of(vocabulary: Vocabulary, text: str, ended: bool = True) -> np.ndarray:
    return np.array([*vocabulary.encode([text])[0], *[EOS_ID] * ended], np.int32)

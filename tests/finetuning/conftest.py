from pathlib import Path

import pytest

from m5jax.data.vocabulary import Vocabulary, train_vocabulary

WORDS = ("red", "blue", "green", "steel", "cotton", "lamp", "chair", "kettle", "headphones", "wireless", "kitchen")


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    texts = [f"{first} {second} {third}" for first in WORDS for second in WORDS for third in WORDS]
    path: Path = tmp_path_factory.mktemp("vocabulary") / "vocabulary.model"
    return train_vocabulary({"en": texts}, {"en": len(texts)}, size=425, output=path)

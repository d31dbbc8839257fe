import jax
import pytest

from m5jax.data.vocabulary import train_vocabulary
from m5jax.inference.embedder import Embedder
from m5jax.models import EncoderConfig, FunctionalModel
from partitioning import MeshConfig, make_mesh

WORDS = [
    "red",
    "blue",
    "green",
    "steel",
    "cotton",
    "lamp",
    "chair",
    "kettle",
    "headphones",
    "wireless",
    "kitchen",
    "garden",
]


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory):
    texts = [f"{first} {second} {third}" for first in WORDS for second in WORDS for third in WORDS]
    output = tmp_path_factory.mktemp("vocabulary") / "vocabulary.model"
    return train_vocabulary({"en": texts}, {"en": len(texts)}, size=425, output=output)


@pytest.fixture(scope="session")
def embedder(vocabulary):
    config = EncoderConfig(vocab_size=512, width=32, layers=2, heads=2, mlp_hidden=48, max_length=24)
    model = FunctionalModel.from_config(config)
    return Embedder(model, model.init(jax.random.key(0)), vocabulary, make_mesh(MeshConfig()))

"""Scores of planted records, and how often a curated task samples what it weighs.

    python benchmarks/curation.py

adds to the English products of the embedded catalog copies of one boilerplate text, each with a number of its own, and
products whose characters are shuffled; trains a small encoder on all of them; and scores them. A sound score is low for
boilerplate and high for noise: `auc` is the share of pairs of a planted and an ordinary record that it orders so. Then
records are drawn from the curated task: `z` is the difference between observed and expected draws of a group in
standard deviations, and a run is sound while none is beyond 4.
"""

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from m5jax.data.embedded_catalog.corpus import embedded_catalog_corpus
from m5jax.data.hard_examples import HardExamples
from m5jax.data.records import ProductRecord
from m5jax.data.serialize import serialize_product

TASK, CURATED = "benchmark_curation", "benchmark_curation_hard"
PLANTED = 150  # of each kind
GROUPS = ("ordinary", "boilerplate", "noise")
RULE = HardExamples(drop_easiest=0.1, exponent=1.0, max_weight=4.0, drop_hardest=0.1)
BOILERPLATE = (
    "Thank you for visiting our store. Please read our terms and conditions before you buy. All prices include tax, "
    "and shipping is free for orders over fifty. Returns are accepted within thirty days. Article {number}."
)


def planted_texts(seed: int) -> dict[str, list[str]]:
    """Returns the texts of each group."""
    generator = random.Random(seed)
    ordinary = [serialize_product(record) for record in _products()]
    noise = []
    for text in generator.sample(ordinary, PLANTED):
        characters = [character for character in text if character not in "<>"]
        generator.shuffle(characters)
        noise.append("".join(characters))
    return {
        "ordinary": ordinary,
        "boilerplate": [BOILERPLATE.format(number=generator.randrange(10**6)) for _ in range(PLANTED)],
        "noise": noise,
    }


def _products() -> Iterator[ProductRecord]:
    for record in embedded_catalog_corpus().records("en", "train"):
        assert isinstance(record, ProductRecord)
        yield record


def area_under_curve(higher: np.ndarray, lower: np.ndarray) -> float:
    """Returns the share of pairs in which the first is higher, ties for half."""
    ascending = np.sort(lower)
    places = (np.searchsorted(ascending, higher, "left") + np.searchsorted(ascending, higher, "right")) / 2
    return float(places.mean() / len(lower))

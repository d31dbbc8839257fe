"""Pairs, and towers over n-grams with random parameters, small enough to be computed one text at a time."""

import functools
import random
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from m5jax.finetuning.examples import Example
from m5jax.finetuning.ngrams import Ngrams, count_ngrams
from m5jax.finetuning.scoring import Scorer
from m5jax.models import FunctionalModel, NgramEncoderConfig, Parameters, TwoTowerConfig
from partitioning import MeshConfig, make_mesh

LENGTH, WIDTH, SIZE = 32, 10, 6
WORDS = ("red", "blue", "green", "steel", "drill", "lamp", "chair", "hose", "12", "big")


def text(generator: random.Random, words: int) -> str:
    return f"<title> {' '.join(generator.choices(WORDS, k=words))}"


def judged_pairs(seed: int, queries: int = 12, each: int = 6, grades: Sequence[float] = (1, 2, 3)) -> list[Example]:
    """Returns pairs of queries, each with its weight, and products that several of them share."""
    generator = random.Random(seed)
    products = [text(generator, 4) for _ in range(3 * queries)]
    examples: list[Example] = []
    for number in range(queries):
        query, weight = text(generator, 2), float(generator.randrange(1, 5))
        for product in generator.sample(products, each):
            location = f"rows:{len(examples)}"
            language = ("en", "de")[number % 2]
            examples.append(Example(location, (query, product), generator.choice(grades), (), language, weight=weight))
    return examples


@functools.cache
def tokenizer() -> Ngrams:
    return count_ngrams([" ".join(WORDS)], 8, 40)


@functools.cache
def towers(similarity: str) -> tuple[FunctionalModel, Parameters]:
    """Returns towers of their own for both sides, all parameters random."""
    encoder = NgramEncoderConfig(vocab_size=tokenizer().size, width=WIDTH, max_length=LENGTH)
    config = TwoTowerConfig(encoder=encoder, shared=False, projection=SIZE, similarity=similarity)
    model, generator = FunctionalModel.from_config(config), np.random.default_rng(0)
    parameters = jax.tree.map(
        lambda leaf: jnp.asarray(generator.normal(0, 0.4, leaf.shape), jnp.float32), model.abstract_parameters
    )
    return model, parameters


@functools.cache
def scorer(similarity: str) -> Scorer:
    return Scorer(towers(similarity)[0], make_mesh(MeshConfig()), 16)


def naive_embedding(parameters: Parameters, text: str, right: bool) -> np.ndarray:
    """Returns float64 [size]: the mean embedding of a text's n-grams, projected."""
    side = "right_" if right else ""
    table = np.array(parameters[f"{side}encoder"]["embedding"], np.float64)
    ids = tokenizer().encode([text])[0][:LENGTH]
    return table[ids].mean(axis=0) @ np.array(parameters[f"{side}projection"], np.float64)


def naive_similarities(
    similarity: str, parameters: Parameters, lefts: Sequence[str], rights: Sequence[str], size: int
) -> np.ndarray:
    """Returns float64 [lefts, rights]."""
    left = np.stack([naive_embedding(parameters, text, False)[: size or None] for text in lefts])
    right = np.stack([naive_embedding(parameters, text, True)[: size or None] for text in rights])
    if similarity == "bilinear":
        left = left @ np.array(parameters["bilinear"], np.float64)[: left.shape[1], : left.shape[1]]
    if similarity == "cosine":
        left, right = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (left, right))
    return left @ right.T


def naive_metrics(ranked: Sequence[Any], grades: dict[Any, float], least: float) -> dict[str, float]:
    """Returns the metrics of one query: `ranked` are documents, best first, `grades` those of its judged ones."""
    relevant = {document for document, grade in grades.items() if grade >= least}
    hits = [document in relevant for document in ranked]
    precisions = [sum(hits[: rank + 1]) / (rank + 1) for rank, hit in enumerate(hits) if hit]
    values = {"map": sum(precisions) / len(relevant), "mrr": 1 / (1 + hits.index(True)) if any(hits) else 0.0}
    for cutoff in (1, 5, 10, 100):
        values[f"recall@{cutoff}"] = sum(hits[:cutoff]) / len(relevant)
        values[f"precision@{cutoff}"] = sum(hits[:cutoff]) / cutoff
        gains = [grades.get(document, 0.0) for document in ranked]
        best = sorted(grades.values(), reverse=True)
        reached, ideal = (
            sum(gain / np.log2(rank + 2) for rank, gain in enumerate(list_[:cutoff])) for list_ in (gains, best)
        )
        values[f"ndcg@{cutoff}"] = reached / ideal
    return values

"""What a model says of encoded examples: embeddings and logits."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float

from m5jax.finetuning.rows import Batch, Padded, PairRows, SequenceRows
from m5jax.models import FunctionalModel, Parameters
from partitioning import batch_shards, batch_share, global_batch

PAIRS_AT_ONCE = 4096


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What a model says of examples, in their order; None for what it does not say.

    Attributes:
        logits: float32 [examples] of a yes, or a number.
        classes: float32 [examples, classes].
        tags: of each example, int32 [length], the likeliest tag of each token and of padding after them.
    """

    logits: np.ndarray | None = None
    classes: np.ndarray | None = None
    tags: list[np.ndarray] | None = None


class Scorer:
    """A model on a mesh, compiled for each shape of its inputs once.

    Args:
        model: of two towers or a classifier.
        mesh: where parameters live.
        batch_size: rows at a time, rounded up to what the mesh divides.
    """

    def __init__(self, model: FunctionalModel, mesh: Mesh, batch_size: int) -> None:
        self._mesh = mesh
        shards = batch_shards(mesh)
        self._rows = -(-batch_size // shards) * shards
        everywhere = NamedSharding(mesh, PartitionSpec())

        def compiled(function: Callable[..., Any], static: tuple[int, ...] = ()) -> Callable[..., Any]:
            return jax.jit(function, static_argnums=static, out_shardings=everywhere)

        def embed(parameters: Parameters, batch: Batch, right: bool) -> Any:
            return model.bind(parameters).embed(batch["inputs"], batch["segment_ids"], right=right)

        def similarities(parameters: Parameters, left: Any, right: Any, size: int) -> Any:
            return model.bind(parameters).pair_similarities(left, right, size)

        def classify(parameters: Parameters, batch: Batch) -> Any:
            logits = model.bind(parameters)(batch["inputs"], batch["segment_ids"])
            return logits.classes, None if logits.tags is None else logits.tags.argmax(axis=-1)

        self._embed, self._similarities = compiled(embed, (2,)), compiled(similarities, (3,))
        self._classify = compiled(classify)
        self._logits = compiled(lambda parameters, values: model.bind(parameters).logits(values))
        self._searchable = compiled(lambda parameters, left: model.bind(parameters).searchable(left))

    def embed(self, parameters: Parameters, texts: Padded, right: bool = False) -> Float[np.ndarray, "texts size"]:
        """Returns the embedding of each text, read as a right side or a left one."""
        parts = [
            (indices, np.asarray(self._embed(parameters, arrays, right))[: len(indices)])
            for indices, arrays in self._batches(texts.lengths, functools.partial(_inputs, texts))
        ]
        return _in_order(parts)

    def searchable(self, parameters: Parameters, left: np.ndarray) -> np.ndarray:
        """Returns of left sides' embeddings those whose inner product with right ones is their similarity."""
        with jax.set_mesh(self._mesh):
            return np.asarray(self._searchable(parameters, left))

    def pairs(self, parameters: Parameters, rows: PairRows, size: int = 0) -> Outputs:
        """Returns the logits of pairs, by the first `size` dimensions of their embeddings (0: by all)."""
        left, right = self.embed(parameters, rows.left), self.embed(parameters, rows.right, right=True)
        logits = []
        with jax.set_mesh(self._mesh):
            for start in range(0, len(rows.pairs), PAIRS_AT_ONCE):
                pairs = rows.pairs[start : start + PAIRS_AT_ONCE]
                filled = np.pad(pairs, ((0, PAIRS_AT_ONCE - len(pairs)), (0, 0)))
                values = self._similarities(parameters, left[filled[:, 0]], right[filled[:, 1]], size)
                logits.append(np.asarray(self._logits(parameters, values))[: len(pairs)])
        return Outputs(logits=np.concatenate(logits))

    def sequences(self, parameters: Parameters, rows: SequenceRows) -> Outputs:
        """Returns the classes and tags of sequences."""
        classes, tags = [], []
        for indices, arrays in self._batches(rows.lengths, functools.partial(_inputs, rows.sequences)):
            found, found_tags = self._classify(parameters, arrays)
            if found is not None:
                classes.append((indices, np.asarray(found)[: len(indices)]))
            if found_tags is not None:
                tags += list(zip(indices, np.asarray(found_tags), strict=False))
        by_class = _in_order(classes) if classes else None
        logits = by_class[:, 0] if by_class is not None and by_class.shape[1] == 1 else None
        in_order = [own for _, own in sorted(tags, key=lambda item: item[0])] if tags else None
        return Outputs(logits, by_class, in_order)

    def _batches(
        self, lengths: np.ndarray, make: Callable[[np.ndarray], Batch]
    ) -> Iterator[tuple[np.ndarray, dict[str, jax.Array]]]:
        """Yields indices of rows of like length, and their arrays; the last row is repeated to fill a batch up."""
        share = batch_share(self._mesh)
        own = self._rows // share.count
        mine = slice(share.index * own, (share.index + 1) * own)
        order = np.argsort(lengths, kind="stable")
        with jax.set_mesh(self._mesh):
            for start in range(0, len(order), self._rows):
                indices = order[start : start + self._rows]
                filled = np.pad(indices, (0, self._rows - len(indices)), mode="edge")
                yield indices, global_batch(self._mesh, {name: array[mine] for name, array in make(filled).items()})


def _inputs(texts: Padded, indices: np.ndarray) -> Batch:
    inputs = texts.rows(indices)
    return {"inputs": inputs, "segment_ids": (inputs > 0).astype(np.int32)}


def _in_order(parts: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    indices = np.concatenate([indices for indices, _ in parts])
    values = np.concatenate([values for _, values in parts])
    ordered = np.empty_like(values)
    ordered[indices] = values
    return ordered

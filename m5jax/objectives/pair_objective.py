"""Training of two towers: sides of pairs embedded, in parts if need be, and losses of all of their similarities."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from m5jax.errors import UserError
from m5jax.objectives.objective import Batch, Sums
from m5jax.objectives.pair_losses import PairLoss, Pairs


@dataclasses.dataclass(frozen=True)
class PairObjective:
    """A weighted sum of losses of pairs, of whole embeddings and of their first dimensions.

    The batch has `inputs` and `segment_ids` [batch, length] of left sides; `right_inputs` and `right_segment_ids`
    [batch, right, length] of right ones, the own one of the pair first, then negatives mined for it; `labels`, `fits`
    and `weights` [batch]; `left_groups` [batch] and `right_groups` [batch, right], equal for what fits
    the same.

    Attributes:
      losses: one or more.
      weights: of each of them; empty: 1 each.
      dimensions: sizes to which embeddings are cut; the loss is the mean over these and the whole (Matryoshka
        representations, arXiv 2205.13147, equation 1).
      embedding_parts: parts in which the rows of a batch are embedded one after the other, and again in the backward
        pass, so that activations of one part only are held while the loss is of the whole batch (gradient caching,
        arXiv 2101.06983).
    """

    losses: tuple[PairLoss, ...]
    weights: tuple[float, ...] = ()
    dimensions: tuple[int, ...] = ()
    embedding_parts: int = 1

    def __post_init__(self) -> None:
        if not self.losses:
            raise UserError("PairObjective.losses is empty; one loss or more is needed")
        if self.weights and len(self.weights) != len(self.losses):
            raise UserError(f"PairObjective has {len(self.losses)} losses and {len(self.weights)} weights")
        if any(weight <= 0 for weight in self.weights):
            raise UserError(f"PairObjective.weights = {self.weights}; allowed: above 0")
        if any(size < 1 for size in self.dimensions) or self.embedding_parts < 1:
            raise UserError(
                f"PairObjective.dimensions = {self.dimensions} and embedding_parts = {self.embedding_parts}; allowed: "
                "1 and above"
            )

    @property
    def is_of_whole_batch(self) -> bool:
        """Whether the loss of a batch is more than the losses of its parts."""
        return any(loss.needs_candidates or loss.needs_among for loss in self.losses)

    def __call__(
        self, module: Any, batch: Batch, dropout_keys: Key[Array, " batch"] | None
    ) -> tuple[Sums, dict[str, Sums]]:
        left, right = self._embed(module, batch, dropout_keys)
        total, metrics = jnp.zeros(()), {}
        sizes = (0, *self.dimensions)
        for size in sizes:
            pairs = self._pairs(module, left, right, batch, size)
            for loss, weight in zip(self.losses, self.weights or (1.0,) * len(self.losses), strict=True):
                sums = loss(pairs)
                total += weight / len(sizes) * sums.total / jnp.maximum(sums.weight, 1e-9)
                metrics[_name(loss, size)] = sums
        # One loss weighs rows in its own way, by which its means over parts of a batch add up.
        rows = sums.weight if len(self.losses) == 1 else jnp.sum(batch["weights"])
        whole = Sums(total * rows, rows)
        temperature = Sums(rows / module.scale, rows)
        return whole, {"loss": whole, **metrics, "temperature": temperature}

    def _embed(self, module: Any, batch: Batch, keys: Key[Array, " batch"] | None) -> tuple[Array, Array]:
        """Returns embeddings of left and right sides, float32 [batch, size] and [batch, right, size]."""

        def embed(part: tuple[dict[str, Array], Any]) -> tuple[Array, Array]:
            rows, own_keys = part
            left_keys, right_keys = _split(own_keys)
            left = module.embed(rows["inputs"], rows["segment_ids"], left_keys)
            count, several, length = rows["right_inputs"].shape
            flat = (rows[name].reshape(-1, length) for name in ("right_inputs", "right_segment_ids"))
            repeated = None if right_keys is None else jax.vmap(lambda key: jax.random.split(key, several))(right_keys)
            repeated = None if repeated is None else repeated.reshape(-1)
            return left, module.embed(*flat, repeated, right=True).reshape(count, several, -1)

        names = ("inputs", "segment_ids", "right_inputs", "right_segment_ids")
        rows, parts = {name: batch[name] for name in names}, self.embedding_parts
        if parts == 1:
            return embed((rows, keys))
        if len(batch["inputs"]) % parts:
            raise UserError(
                f"PairObjective.embedding_parts = {parts} does not divide the {len(batch['inputs'])} rows of a batch"
            )
        # Dealt out as in `m5jax.training.step`, so that rows stay on the devices that hold them.
        dealt = jax.tree.map(lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), (rows, keys))
        embedded = jax.lax.map(jax.checkpoint(embed), dealt)
        return jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:]), embedded)

    def _pairs(
        self,
        module: Any,
        left: Float[Array, "rows size"],
        right: Float[Array, "rows right size"],
        batch: Batch,
        size: int,
    ) -> Pairs:
        similarities = module.pair_similarities(left, right[:, 0], size)
        candidates = among = None
        if any(loss.needs_candidates for loss in self.losses):
            candidates = module.all_similarities(left, right.reshape(-1, right.shape[-1]), size)
        if any(loss.needs_among for loss in self.losses):
            both = jnp.concatenate([left, right[:, 0]])
            among = module.all_similarities(both, both, size)
        own, left_out, alike = known_pairs(batch)
        logits = module.logits(similarities)
        return Pairs(
            similarities,
            logits,
            candidates,
            own,
            left_out,
            among,
            alike,
            module.scale,
            batch["labels"],
            batch["fits"],
            batch["weights"],
        )


def known_pairs(batch: Batch) -> tuple[Array, Array, Array]:
    """Returns which candidates are the rows' own, which fit them as well, and which of all sides are of one group.

    bool [rows, rows * right], the same, and [2 * rows, 2 * rows]; see `Pairs`. A candidate fits a row where it is of
    the row's group, or of one of the row's `fitting_groups`, int [rows, several], of all training pairs. Padding fits
    all, and all fits it. Of one group are sides of one kind by their groups, and a left one with right ones that fit.
    """
    left_groups, right_groups, fitting_groups = (batch[f"{name}_groups"] for name in ("left", "right", "fitting"))
    rows, several = right_groups.shape
    own = jnp.zeros((rows, rows, several), bool).at[:, :, 0].set(jnp.eye(rows, dtype=bool))
    same_left = left_groups[:, None] == left_groups[None, :]
    same_right = right_groups[:, :1] == right_groups.reshape(1, -1)
    by_others = jnp.any(fitting_groups[:, :, None] == right_groups.reshape(1, 1, -1), axis=1)
    known = by_others.reshape(own.shape) | (left_groups[:, None, None] == right_groups[None])
    padding = batch["weights"] <= 0
    left_out = (known | padding[:, None, None] | padding[None, :, None]) & ~own
    fitting = known[:, :, 0]
    alike = jnp.block([[same_left, fitting], [fitting.T, same_right.reshape(own.shape)[:, :, 0]]])
    return own.reshape(rows, -1), left_out.reshape(rows, -1), alike


def _split(keys: Key[Array, " batch"] | None) -> tuple[Any, Any]:
    if keys is None:
        return None, None
    split = jax.vmap(jax.random.split)(keys)
    return split[:, 0], split[:, 1]


def _name(loss: PairLoss, size: int) -> str:
    name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in type(loss).__name__).lstrip("_")
    return f"{name}_{size}" if size else name

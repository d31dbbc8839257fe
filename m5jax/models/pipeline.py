"""Layers in stages on different devices, through which parts of a batch (micro-batches) pass one after the other.

Each stage is a slice of arrays with a leading `stages` axis, which the mesh axis `pipeline` splits: all stages work at
once, each on its own micro-batch, then hand their states to the next. One stage may hold several chunks of layers, far
apart in depth; a micro-batch then passes all stages once a chunk (the interleaved schedule, arXiv 2104.04473, section
2.2), so that fewer stages wait at the beginning and the end. The backward pass is this one's derivative, stages in
reverse. Of S stages, M micro-batches and R rounds, a stage waits in (S - 1) / (R M + S - 1) of the steps.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from jaxtyping import Array

from partitioning import constrain, current_spec
from partitioning.current_mesh import STAGES, within_stage


class Schedule(NamedTuple):
    """How a batch passes the stages.

    Attributes:
      stages: devices along `pipeline`.
      rounds: how often a micro-batch passes all of them.
      parts: micro-batches, at least as many as stages.
    """

    stages: int
    rounds: int
    parts: int


def run_stages(
    layers: Any,
    x: Array,
    rows: Any,
    run_chunk: Callable[[Any, Array, Any], Array],
    schedule: Schedule,
) -> Array:
    """Returns what all layers make of `x`.

    Args:
      layers: arrays with a leading `layers` axis, which `stages x rounds` divides.
      x: states, [batch, length, embed].
      rows: arrays with a leading `batch` axis that each layer has beside the states.
      run_chunk: (layers of a chunk, states, rows of a micro-batch) to states.
      schedule: of the micro-batches.
    """
    stages, rounds, parts = schedule
    chunks = jax.tree.map(lambda leaf: _interleave(leaf, stages, rounds), layers)
    waiting = _deal(x, schedule)
    dealt = jax.tree.map(lambda leaf: _deal(leaf, schedule), rows)
    # Every stage has room for all micro-batches; those of the first are what waits for its next round.
    waiting = _split_stages(jnp.broadcast_to(waiting, (stages, *waiting.shape)))
    arrived = _split_stages(jnp.zeros((stages, *waiting.shape[2:]), x.dtype))
    is_first = jnp.arange(stages) == 0

    def one_stage(chunk_by_round: Any, own: Array, states: Array, item: Array, first: Array) -> Array:
        turn = jnp.clip(item, 0, rounds * parts - 1)
        part = turn % parts
        chunk = jax.tree.map(lambda leaf: leaf[turn // parts], chunk_by_round)
        states = jnp.where(first, own[part], states)
        with within_stage():
            return run_chunk(chunk, states, jax.tree.map(lambda leaf: leaf[part], dealt))

    def keep(own: Array, states: Array, item: Array) -> Array:
        """Stores what came from the last stage, in the place of the micro-batch that it is."""
        part = jnp.clip(item, 0, rounds * parts - 1) % parts
        return own.at[part].set(jnp.where(item >= 0, states, own[part]))

    def step(carry: tuple[Array, Array], time: Array) -> tuple[tuple[Array, Array], None]:
        own, states = carry
        # At each step a stage works on the item that the stage before had in the last one.
        items = time - jnp.arange(stages)
        made = jax.vmap(one_stage, spmd_axis_name=STAGES)(chunks, own, states, items, is_first)
        states = _split_stages(jnp.roll(made, 1, axis=0))
        own = jax.vmap(keep, in_axes=(0, 0, None), spmd_axis_name=STAGES)(own, states, time - (stages - 1))
        return (_split_stages(own), states), None

    steps = jnp.arange(rounds * parts + stages - 1)
    (waiting, _), _ = jax.lax.scan(step, (waiting, arrived), steps)
    return constrain(_collect(waiting[0], schedule), "batch", "length", "embed")


def _deal(x: Array, schedule: Schedule) -> Array:
    """Returns rows dealt out to micro-batches, [parts, rows of a part, ...], so that devices keep their own; what other
    stages hold of them comes with one exchange."""
    stages, _, parts = schedule
    cut = x.reshape(stages, -1, parts // stages, *x.shape[1:])
    cut = _pin(_pin(cut, STAGES), None).swapaxes(1, 2)
    return cut.reshape(parts, -1, *x.shape[1:])


def _collect(x: Array, schedule: Schedule) -> Array:
    """Returns the rows of micro-batches in the order that they had before `_deal`."""
    stages, _, parts = schedule
    cut = x.reshape(stages, parts // stages, *x.shape[1:]).swapaxes(1, 2)
    return _pin(cut, STAGES).reshape(-1, *x.shape[2:])


def _pin(x: Array, leading: str | None) -> Array:
    """Pins the first axis to a mesh axis or to none, and the second, of rows, to the devices that share a stage's."""
    with within_stage():
        rows = current_spec(("batch",), x.shape[1:2])
    free = [PartitionSpec.UNCONSTRAINED] * (x.ndim - 2)
    return jax.lax.with_sharding_constraint(x, PartitionSpec(leading, *(rows or [None]), *free))


def _split_stages(x: Array) -> Array:
    """Pins the leading axis to the stages; the others stay as they are."""
    free = [PartitionSpec.UNCONSTRAINED] * (x.ndim - 1)
    return jax.lax.with_sharding_constraint(x, PartitionSpec(STAGES, *free))


def _interleave(leaf: Array, stages: int, rounds: int) -> Array:
    """Returns layers by stage and round, [stages, rounds, layers of a chunk, ...].

    Devices hold layers that follow each other; those that a stage runs are one chunk in each of `rounds` equal parts of
    the depth. Each device hands on and gets as many chunks, in as many exchanges.
    """
    chunk = leaf.shape[0] // (stages * rounds)
    held = leaf.reshape(stages, rounds, chunk, *leaf.shape[1:])
    if rounds == 1:
        return held
    moved = jnp.zeros_like(held)
    for target, source_place, target_place in _exchanges(stages, rounds):
        sent = _split_stages(jax.vmap(lambda own, place: own[place])(held, source_place))
        got = _hand_on(sent, target)
        moved = jax.vmap(lambda own, place, new: own.at[place].set(new))(moved, target_place, got)
    return _split_stages(moved)


def _hand_on(x: Array, target: np.ndarray) -> Array:
    """Returns what each device got, where each sent its slice of the leading axis to a target of its own."""
    pairs = list(enumerate(target.tolist()))
    spec = PartitionSpec(STAGES)
    exchange = jax.shard_map(
        lambda own: jax.lax.ppermute(own, STAGES, pairs), in_specs=spec, out_specs=spec, axis_names={STAGES}
    )
    return exchange(x)


def _exchanges(stages: int, rounds: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Returns exchanges in each of which every device sends one chunk and gets one: whom it sends to, which of its
    chunks that is, and, by the device that gets it, in which round it runs that.

    Chunk c is held by device c // rounds and run by c % stages; a graph of as many edges at each node falls into
    perfect matchings (Kőnig).
    """
    # Here, since few meshes need it and every import of a model would wait for it.
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    open_chunks = set(range(stages * rounds))
    found = []
    for _ in range(rounds):
        by_edge = {(chunk // rounds, chunk % stages): chunk for chunk in open_chunks}
        senders, getters = zip(*by_edge, strict=True)
        graph = csr_array((np.ones(len(by_edge)), (senders, getters)), shape=(stages, stages))
        target = maximum_bipartite_matching(graph, perm_type="column")
        chosen = np.array([by_edge[device, target[device]] for device in range(stages)])
        open_chunks -= set(chosen.tolist())
        target_place = np.empty(stages, int)
        target_place[target] = chosen // stages
        found.append((target, chosen % rounds, target_place))
    return found

"""Packing of variable-length examples into rows of a fixed length, and the rows' masked positions. Pure numpy.

A *window* is a number of consecutive examples that are packed together: the tokens of all of them in one flat array,
with `row_splits` as in a ragged tensor: example i is `tokens[row_splits[i]:row_splits[i + 1]]`. Windows are packed
independently, so packing needs no state from one to the next.

Rows have, as everywhere in m5jax, segment ids 1, 2, ... and positions from 0 within each segment, both 0 in padding.
"""

import math
import zlib
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

DEFAULT_WINDOW = 1024


def prediction_budget(length: int, masking_rate: float) -> int:
    """Returns the predicted tokens a row of `length` tokens has room for: a tenth more than expected, and two."""
    return min(length, math.ceil(length * masking_rate * 1.1) + 2)


def pack_window(
    inputs: np.ndarray,
    targets: np.ndarray,
    row_splits: np.ndarray,
    *,
    length: int,
    budget: int,
    pack: bool = True,
    by_token: Mapping[str, np.ndarray] = MappingProxyType({}),
    reserve_predictions: bool = False,
) -> dict[str, np.ndarray]:
    """Packs one window of examples into rows.

    With `pack`, examples go longest first into the row that they leave the least room in (best fit decreasing), and the
    rows come in an order that follows from the window's content only, independent of their examples' lengths.
    Otherwise each example has a row of its own, in order.

    Args:
        inputs: int32 [tokens], ids that the model reads.
        targets: int32 [tokens], the id to predict at predicted positions and 0 elsewhere.
        row_splits: int64 [examples + 1].
        length: tokens in a row; no example may have more.
        budget: predicted tokens in a row. Predictions beyond it are not made; their inputs become the targets, which in
            masked LM is to undo the masking.
        pack: see above.
        by_token: further features, int32 [tokens].
        reserve_predictions: leaves room in a row so that no prediction is beyond `budget`; then no example may have
            more predictions than that.

    Returns:
        `inputs`, `segment_ids`, `positions` and those of `by_token`, int32 [rows, length]; `predicted_positions` and
        `targets`, int32 [rows, budget]; `loss_weights`, float32 [rows, budget].

    Raises:
        ValueError: an example is longer than `length`, or has more predictions than are reserved.
    """
    lengths = np.diff(row_splits)
    if lengths.size and lengths.max() > length:
        raise ValueError(f"an example has {lengths.max()} tokens, more than the row length {length}")
    sizes = lengths
    if reserve_predictions:
        cumulated = np.concatenate([[0], np.cumsum(targets != 0)])
        predictions = np.diff(cumulated[row_splits])
        if lengths.size and predictions.max() > budget:
            raise ValueError(f"an example has {predictions.max()} predictions, more than the budget {budget}")
        # As large a share of the row's tokens as of its predictions.
        sizes = np.maximum(lengths, -(-predictions * length // budget))
    rows, segments = _places(sizes, length, pack, inputs)
    packed = _lay_out({"inputs": inputs, "targets": targets, **by_token}, lengths, rows, segments, length)
    packed.update(_take_predictions(packed["inputs"], packed["targets"], budget))
    return packed


def pack_pairs(
    inputs: np.ndarray,
    input_splits: np.ndarray,
    targets: np.ndarray,
    target_splits: np.ndarray,
    by_target: Mapping[str, np.ndarray] = MappingProxyType({}),
    *,
    length: int,
    targets_length: int,
    pack: bool = True,
) -> dict[str, np.ndarray]:
    """Packs a window of examples whose targets have rows of their own, as an encoder-decoder reads them.

    Args:
        inputs: int32 [input tokens], and `input_splits`, int64 [examples + 1].
        targets: int32 [target tokens], and `target_splits`, int64 [examples + 1].
        by_target: further features, int32 [target tokens].
        length: tokens in a row of inputs.
        targets_length: tokens in a row of targets.
        pack: as in `pack_window`.

    Returns:
        `inputs`, `segment_ids` and `positions`, int32 [rows, length]; `targets`, `target_segment_ids`,
        `target_positions` and those of `by_target`, int32 [rows, targets_length]; `loss_weights`, float32 [rows,
        targets_length], 1 at targets. An example has the same segment id on both sides.

    Raises:
        ValueError: an example is longer than a row.
    """
    lengths, target_lengths = np.diff(input_splits), np.diff(target_splits)
    for sizes, most, side in ((lengths, length, "inputs"), (target_lengths, targets_length, "targets")):
        if sizes.size and sizes.max() > most:
            raise ValueError(f"an example has {side} of {sizes.max()} tokens, more than the row's {most}")
    # The larger share of the two rows.
    sizes = np.maximum(lengths, -(-target_lengths * length // targets_length))
    rows, segments = _places(sizes, length, pack, inputs)
    packed = _lay_out({"inputs": inputs}, lengths, rows, segments, length)
    written = _lay_out({"targets": targets, **by_target}, target_lengths, rows, segments, targets_length)
    packed["target_segment_ids"], packed["target_positions"] = written.pop("segment_ids"), written.pop("positions")
    return packed | written | {"loss_weights": (packed["target_segment_ids"] > 0).astype(np.float32)}


def _places(sizes: np.ndarray, length: int, pack: bool, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the row and segment id of each example."""
    if pack:
        return _best_fit(sizes, length, zlib.crc32(inputs.tobytes()))
    return np.arange(len(sizes)), np.ones(len(sizes), np.int64)


def _lay_out(
    features: Mapping[str, np.ndarray], lengths: np.ndarray, rows: np.ndarray, segments: np.ndarray, length: int
) -> dict[str, np.ndarray]:
    """Returns `segment_ids`, `positions` and the features, which are flat, in rows of `length`."""
    row_count = int(rows.max()) + 1 if len(rows) else 0
    # Tokens before each example in its row: those of all examples before it, less those before its row.
    order = np.lexsort((segments, rows))
    before = np.zeros_like(lengths)
    before[order] = np.cumsum(lengths[order]) - lengths[order]
    in_row = np.bincount(rows, weights=lengths, minlength=row_count).astype(np.int64)
    offsets = before - (np.cumsum(in_row) - in_row)[rows]

    within_example = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    destination = np.repeat(rows * length + offsets, lengths) + within_example
    laid = {"segment_ids": np.repeat(segments, lengths), "positions": within_example, **features}
    return {name: _scatter(values, destination, row_count, length) for name, values in laid.items()}


def _best_fit(sizes: np.ndarray, length: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns each example's row and its segment id; rows are numbered in random order.

    The `sizes` of a row's examples sum to `length` at most.
    """
    open_rows: list[list[int]] = [[] for _ in range(length + 1)]
    # Bit r is set while a row with r free tokens is open; the best fit is then the lowest set bit from the length up.
    free_sizes = 0
    segments_in: list[int] = []
    rows, segments = [0] * len(sizes), [0] * len(sizes)
    order = np.argsort(-sizes, kind="stable")
    for example, size in zip(order.tolist(), sizes[order].tolist(), strict=True):
        fitting = free_sizes >> size
        if fitting:
            free = size + (fitting & -fitting).bit_length() - 1
            row = open_rows[free].pop()
            if not open_rows[free]:
                free_sizes ^= 1 << free
        else:
            row, free = len(segments_in), length
            segments_in.append(0)
        rows[example] = row
        segments_in[row] += 1
        segments[example] = segments_in[row]
        left = free - size
        if left:
            open_rows[left].append(row)
            free_sizes |= 1 << left
    shuffled = np.random.default_rng(seed).permutation(len(segments_in))
    return shuffled[np.array(rows, np.int64)], np.array(segments, np.int64)


def _scatter(values: np.ndarray, destination: np.ndarray, row_count: int, length: int) -> np.ndarray:
    flat = np.zeros(row_count * length, np.int32)
    flat[destination] = values
    return flat.reshape(row_count, length)


def _take_predictions(inputs: np.ndarray, targets: np.ndarray, budget: int) -> dict[str, np.ndarray]:
    """Gathers the predicted positions of each row, [rows, length], into `budget` slots; mends the inputs beyond it."""
    rows, columns = np.nonzero(targets)
    per_row = np.bincount(rows, minlength=len(targets))
    slot = np.arange(len(rows)) - np.repeat(np.cumsum(per_row) - per_row, per_row)
    kept = slot < budget
    beyond = rows[~kept], columns[~kept]
    inputs[beyond] = targets[beyond]
    rows, columns, slot = rows[kept], columns[kept], slot[kept]
    predictions = {
        "predicted_positions": np.zeros((len(targets), budget), np.int32),
        "targets": np.zeros((len(targets), budget), np.int32),
        "loss_weights": np.zeros((len(targets), budget), np.float32),
    }
    predictions["predicted_positions"][rows, slot] = columns
    predictions["targets"][rows, slot] = targets[rows, columns]
    predictions["loss_weights"][rows, slot] = 1.0
    return predictions

"""Examples in batches: those of like length together, each in a row of its own."""

from collections.abc import Iterator, Sequence

import numpy as np

from m5jax.data.examples import Example, example_rows

SHORTEST_ROW, FEWEST_PREDICTIONS = 16, 4


def batches_by_length(examples: Sequence[Example], rows: int) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Yields the places of examples, int64, and their batch, whose other rows, at the end, are of zeros.

    Rows and predictions are padded to powers of two, so that few programs are compiled. Examples without a prediction
    are left out.

    Args:
        examples: in any order.
        rows: of a batch.
    """
    lengths, predictions = (
        np.array(sizes, np.int64)
        for sizes in (
            [len(example.inputs) for example in examples],
            [np.count_nonzero(example.targets) for example in examples],
        )
    )
    order = np.argsort(lengths, kind="stable")
    order = order[predictions[order] > 0]
    for start in range(0, len(order), rows):
        places = order[start : start + rows]
        length = _bucket(lengths[places].max(), SHORTEST_ROW)
        budget = min(length, _bucket(predictions[places].max(), FEWEST_PREDICTIONS))
        batch = example_rows([examples[place] for place in places], length, budget)
        yield places, {name: np.pad(array, [(0, rows - len(array)), (0, 0)]) for name, array in batch.items()}


def _bucket(size: int, smallest: int) -> int:
    return max(smallest, 1 << (int(size) - 1).bit_length())

"""Texts as batches of token ids, of few shapes."""

from collections.abc import Iterator, Sequence

import numpy as np

from m5jax.data.vocabulary import Vocabulary

SHORTEST_BUCKET = 16

Batch = dict[str, np.ndarray]


def encode_texts(
    vocabulary: Vocabulary, texts: Sequence[str], longest: int, begun: bool = False
) -> tuple[list[list[int]], int]:
    """Returns the token ids of each text with its end token, cut to `longest`, and how many were cut.

    With `begun`, the texts go on: each has the end token of another before it and none after, and is cut at its start.
    """
    encoded, room = vocabulary.encode(texts) if texts else [], longest - 1
    if begun:
        sequences = [[vocabulary.eos_id, *tokens[max(len(tokens) - room, 0) :]] for tokens in encoded]
    else:
        sequences = [[*tokens[:room], vocabulary.eos_id] for tokens in encoded]
    return sequences, sum(len(tokens) > room for tokens in encoded)


def batches_by_length(
    sequences: Sequence[Sequence[int]], batch_size: int, longest: int
) -> Iterator[tuple[list[int], Batch]]:
    """Yields batches of sequences of like length, with their places among the sequences.

    A batch has `inputs` and `segment_ids` (1 for tokens, 0 for padding), int32 [batch_size, length]. The length is a
    power of two, or `longest`: log2(longest) shapes at most. Rows that are missing at the end are padding.
    """
    by_length = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))
    for start in range(0, len(by_length), batch_size):
        rows = by_length[start : start + batch_size]
        bucket = SHORTEST_BUCKET
        while bucket < len(sequences[rows[-1]]):
            bucket *= 2
        inputs = np.zeros((batch_size, min(bucket, longest)), np.int32)
        for row, index in enumerate(rows):
            inputs[row, : len(sequences[index])] = sequences[index]
        yield rows, {"inputs": inputs, "segment_ids": (inputs > 0).astype(np.int32)}

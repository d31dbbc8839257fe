"""Encoded examples in memory, and batches of any of them."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from m5jax.data.vocabulary import EOS_ID, UNK_ID, Vocabulary
from m5jax.errors import UserError
from m5jax.finetuning.examples import Example
from m5jax.finetuning.ngrams import Ngrams
from m5jax.finetuning.tasks import JointTask, Labels, RegressionTask, Task, TextToTextTask, TwoTowerTask, UtteranceTask
from m5jax.objectives.pair_losses import NO_GROUP

Batch = dict[str, np.ndarray]
Tokenizer = Vocabulary | Ngrams
SHORTEST = 16
# Of tokens that do not begin a word, and of words whose tag training does not know.
NO_TAG, UNKNOWN_TAG = -1, -2


class Rows(Protocol):
    """Encoded examples."""

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each, int [examples]."""
        ...

    def batch(self, indices: np.ndarray, weights: np.ndarray) -> Batch:
        """Returns the arrays of some examples, padded to the longest, with these weights."""
        ...


@dataclasses.dataclass(frozen=True)
class Padded:
    """Token ids of several texts, one after the other.

    Attributes:
        tokens: int32, of all texts.
        starts: int64 [texts + 1], where each begins.
    """

    tokens: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, sequences: Sequence[Sequence[int]]) -> "Padded":
        starts = np.cumsum([0, *map(len, sequences)])
        return cls(np.fromiter((token for row in sequences for token in row), np.int32, starts[-1]), starts)

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.starts)

    def rows(self, indices: np.ndarray, value: int = 0) -> np.ndarray:
        """Returns int32 [rows, length], filled up with `value`; the length is one of few."""
        lengths = self.lengths[indices]
        rows = np.full((len(indices), bucket(int(lengths.max(initial=1)))), value, np.int32)
        for row, (index, length) in enumerate(zip(indices, lengths, strict=True)):
            start = self.starts[index]
            rows[row, :length] = self.tokens[start : start + length]
        return rows


def bucket(length: int) -> int:
    """Returns the next power of two, so that few programs are compiled."""
    size = SHORTEST
    while size < length:
        size *= 2
    return size


@dataclasses.dataclass(frozen=True)
class SequenceRows:
    """Examples of one sequence each.

    Attributes:
        sequences: tokens.
        labels: int32 or float32 [examples].
        tags: of the tokens; None where they have none.
    """

    sequences: Padded
    labels: np.ndarray
    tags: Padded | None = None

    @property
    def lengths(self) -> np.ndarray:
        return self.sequences.lengths

    def batch(self, indices: np.ndarray, weights: np.ndarray) -> Batch:
        inputs = self.sequences.rows(indices)
        arrays = {"inputs": inputs, "segment_ids": (inputs > 0).astype(np.int32), "labels": self.labels[indices]}
        if self.tags is not None:
            arrays["tags"] = self.tags.rows(indices, NO_TAG)
        return arrays | {"weights": weights}


@dataclasses.dataclass(frozen=True)
class PairRows:
    """Pairs whose sides are embedded each by itself.

    Attributes:
        left, right: tokens of the sides that there are, each once.
        pairs: int64 [examples, 2], which of them each example has.
        labels: float32 [examples], 0 to 1, how well each fits.
        fits: float32 [examples], 1 or 0, whether it does.
        left_groups, right_groups: int32 [sides], equal for what fits the same.
        negatives: int64 [examples, several], right sides beside an example's own.
    """

    left: Padded
    right: Padded
    pairs: np.ndarray
    labels: np.ndarray
    fits: np.ndarray
    left_groups: np.ndarray
    right_groups: np.ndarray
    negatives: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        return np.maximum(self.left.lengths[self.pairs[:, 0]], self.right.lengths[self.pairs[:, 1]])

    @functools.cached_property
    def _fitting(self) -> np.ndarray:
        """Left and right groups of the pairs that fit, int32 [distinct, 2], in order."""
        left, right = self.pairs[self.fits > 0].T
        return np.unique(np.stack([self.left_groups[left], self.right_groups[right]], axis=1), axis=0)

    def fitting_groups(self, left_groups: np.ndarray, among: np.ndarray) -> np.ndarray:
        """Returns which groups of right sides, of some, fit left sides of each of these groups, int32 [rows, several],
        filled up with `NO_GROUP`."""
        begin, end = (np.searchsorted(self._fitting[:, 0], left_groups, side) for side in ("left", "right"))
        found = [self._fitting[start:stop, 1] for start, stop in zip(begin, end, strict=True)]
        kept = [own[np.isin(own, among)].tolist() for own in found]
        return Padded.of(kept).rows(np.arange(len(kept)), NO_GROUP)

    def batch(self, indices: np.ndarray, weights: np.ndarray) -> Batch:
        left, right = self.pairs[indices].T
        several = np.concatenate([right[:, None], self.negatives[indices]], axis=1)
        inputs = self.left.rows(left)
        right_inputs = self.right.rows(several.reshape(-1)).reshape(*several.shape, -1)
        return {
            "inputs": inputs,
            "segment_ids": (inputs > 0).astype(np.int32),
            "right_inputs": right_inputs,
            "right_segment_ids": (right_inputs > 0).astype(np.int32),
            "labels": self.labels[indices],
            "fits": self.fits[indices],
            "left_groups": self.left_groups[left],
            "right_groups": self.right_groups[several],
            "fitting_groups": self.fitting_groups(self.left_groups[left], np.unique(self.right_groups[several])),
            "weights": weights,
        }


@dataclasses.dataclass(frozen=True)
class TextRows:
    """Texts to be written from others.

    Attributes:
        inputs, targets: tokens.
    """

    inputs: Padded
    targets: Padded

    @property
    def lengths(self) -> np.ndarray:
        return self.inputs.lengths + self.targets.lengths

    def batch(self, indices: np.ndarray, weights: np.ndarray) -> Batch:
        inputs, targets = self.inputs.rows(indices), self.targets.rows(indices)
        real = (targets > 0).astype(np.int32)
        return {
            "inputs": inputs,
            "segment_ids": (inputs > 0).astype(np.int32),
            "positions": np.broadcast_to(np.arange(inputs.shape[1], dtype=np.int32), inputs.shape).copy(),
            "targets": targets,
            "target_segment_ids": real,
            "target_positions": np.broadcast_to(np.arange(targets.shape[1], dtype=np.int32), targets.shape).copy(),
            "loss_weights": real * weights[:, None].astype(np.float32),
        }


def encode_examples(examples: Sequence[Example], task: Task, labels: Labels, tokenizer: Tokenizer, length: int) -> Rows:
    """Returns the rows of examples; texts are cut to `length` tokens.

    Raises:
        UserError: an example has a label that is none of `labels`.
    """
    if isinstance(task, TwoTowerTask):
        return _pair_rows(examples, task, tokenizer, length)
    assert isinstance(tokenizer, Vocabulary)
    if isinstance(task, UtteranceTask):
        return _utterance_rows(examples, labels, tokenizer, length)
    if isinstance(task, TextToTextTask):
        inputs = encode_texts([example.texts[0] for example in examples], tokenizer, length)
        targets = encode_texts([str(example.label) for example in examples], tokenizer, task.targets_length)
        return TextRows(Padded.of(inputs), Padded.of(targets))
    sequences = Padded.of(join_texts([example.texts for example in examples], tokenizer, length))
    if isinstance(task, JointTask):
        shares = [task.labels.share(float(example.label or 0.0)) for example in examples]
        return SequenceRows(sequences, np.array(shares, np.float32))
    if isinstance(task, RegressionTask):
        return SequenceRows(sequences, np.array([float(example.label or 0.0) for example in examples], np.float32))
    return SequenceRows(sequences, _numbers(examples, labels.classes))


def encode_texts(texts: Sequence[str], tokenizer: Tokenizer, length: int) -> list[list[int]]:
    """Returns the ids of each text, cut to `length`; of a vocabulary with the end token."""
    if isinstance(tokenizer, Ngrams):
        return [ids[:length] for ids in tokenizer.encode(texts)]
    return [[*ids[: length - 1], EOS_ID] for ids in tokenizer.encode(texts)]


def join_texts(several: Sequence[tuple[str, ...]], vocabulary: Vocabulary, length: int) -> list[list[int]]:
    """Returns the ids of texts one after the other, each with its end token; the longest are cut first."""
    flat = iter(vocabulary.encode([text for texts in several for text in texts]))
    return [_joined([next(flat) for _ in texts], length) for texts in several]


def _joined(texts: list[list[int]], length: int) -> list[int]:
    room = length - len(texts)
    if room < len(texts):
        raise UserError(f"{len(texts)} texts do not fit into {length} tokens; set a larger length")
    share = even_share([len(text) for text in texts], room)
    return [token for text in texts for token in (*text[:share], EOS_ID)]


def even_share(lengths: Sequence[int], room: int) -> int:
    """Returns the most tokens that each text may keep so that all fit into `room`; shorter ones leave their rest."""
    share, left = 0, room
    for place, length in enumerate(sorted(lengths)):
        share = left // (len(lengths) - place)
        if length > share:
            return share
        left -= length
    return max(lengths, default=0)


def _numbers(examples: Sequence[Example], classes: Sequence[str]) -> np.ndarray:
    numbers = {label: number for number, label in enumerate(classes)}
    for example in examples:
        if example.label not in numbers:
            raise UserError(
                f"{example.location}: label {str(example.label)[:40]!r} is none of the {len(classes)} of the training "
                "rows; declare all in ClassificationTask.labels, or leave the row out"
            )
    return np.array([numbers[str(example.label)] for example in examples], np.int32)


def _utterance_rows(examples: Sequence[Example], labels: Labels, vocabulary: Vocabulary, length: int) -> SequenceRows:
    tag_numbers = {tag: number for number, tag in enumerate(labels.tags)}
    words = iter(vocabulary.encode([word for example in examples for word in example.texts]))
    sequences, tags = [], []
    for example in examples:
        tokens: list[int] = []
        own: list[int] = []
        for tag in example.tags:
            pieces = next(words) or [UNK_ID]  # a word of white space has none
            tokens += pieces
            own += [tag_numbers.get(tag, UNKNOWN_TAG), *[NO_TAG] * (len(pieces) - 1)]
        sequences.append([*tokens[: length - 1], EOS_ID])
        tags.append([*own[: length - 1], NO_TAG])
    return SequenceRows(Padded.of(sequences), _known(examples, labels.classes), Padded.of(tags))


def _known(examples: Sequence[Example], classes: Sequence[str]) -> np.ndarray:
    """Returns the numbers of intents; of one that training does not know, the first one's, which is counted wrong."""
    numbers = {label: number for number, label in enumerate(classes)}
    return np.array([numbers.get(str(example.label), 0) for example in examples], np.int32)


def pair_sides(examples: Sequence[Example]) -> tuple[list[str], list[str]]:
    """Returns the texts of left and of right sides, each once, as `PairRows` numbers them."""
    return _distinct([example.texts[0] for example in examples])[0], _distinct(
        [example.texts[1] for example in examples]
    )[0]


def _pair_rows(examples: Sequence[Example], task: TwoTowerTask, tokenizer: Tokenizer, length: int) -> PairRows:
    lefts, left_index = _distinct([example.texts[0] for example in examples])
    rights, right_index = _distinct([example.texts[1] for example in examples])
    texts = _distinct([*lefts, *rights])[1]
    left_texts, right_texts = texts[: len(lefts)], texts[len(lefts) :]
    groups = np.arange(len(texts), dtype=np.int32)
    grades = np.array([float(example.label or 0.0) for example in examples], np.float32)
    fits = grades >= task.labels.least_fit
    named: dict[str, int] = {}
    for example, fit, left, right in zip(examples, fits, left_index, right_index, strict=True):
        if example.group and fit:
            group = named.setdefault(example.group, -1 - len(named))
            groups[left_texts[left]] = groups[right_texts[right]] = group
    return PairRows(
        Padded.of(encode_texts(lefts, tokenizer, length)),
        Padded.of(encode_texts(rights, tokenizer, length)),
        np.stack([left_index, right_index], axis=1),
        task.labels.share(grades).astype(np.float32),
        fits.astype(np.float32),
        groups[left_texts],
        groups[right_texts],
        np.zeros((len(examples), 0), np.int64),
    )


def _distinct(texts: Sequence[str]) -> tuple[list[str], np.ndarray]:
    numbers: dict[str, int] = {}
    index = np.array([numbers.setdefault(text, len(numbers)) for text in texts])
    return list(numbers), index

"""The encoder's form of labelled tasks: labels as ids after the vocabulary's, predicted at tokens of what is read.

So a batch of labelled examples looks like one of masked LM, and both share a row, a model and a loss.
"""

import collections
import dataclasses
import itertools
from collections.abc import Callable, Mapping

import numpy as np
import seqio
import tensorflow as tf

from m5jax.data.corpus import Corpus, source_fingerprint
from m5jax.data.kept import kept
from m5jax.data.labelled_examples import Labelled, MakeLabelled
from m5jax.data.mixtures import find_tasks
from m5jax.data.packing import prediction_budget
from m5jax.data.preprocessors import AlignedTargets, InputsAndTargets, examples_of
from m5jax.data.records import RECORDS
from m5jax.data.vocabulary import EOS_ID, UNK_ID, Vocabulary, current_vocabulary
from m5jax.errors import UserError

# Python is entered once for so many lines.
_LINES_AT_ONCE = 64
# One label in so many tokens is the least that a row has room for.
SENTENCE_SHARE, WORD_SHARE = 0.1, 0.7


@dataclasses.dataclass(frozen=True)
class LabelExamples(AlignedTargets):
    """SeqIO preprocessor from canonical lines to `inputs`, int32 [n], with the end token, and `targets`, int32 [n]: the
    id of a label where one is predicted, 0 elsewhere.

    Texts are cut to the row: the longest pieces, such as the two products of a pair, at their ends; where words have
    labels, at the end. A label unknown to the run is <unk>, which no model answers. Records that `make` gives None for
    are left out.

    Attributes:
        corpus: the records.
        make: of a record.
        label_set: tasks of one name share their labels.
        by_word: labels stand at words, and not only at the end.
        positive: of two labels, the one that scores are of.
        most: labels, the most frequent first, that the training records have a use for.
    """

    corpus: Callable[[], Corpus]
    make: MakeLabelled
    label_set: str
    by_word: bool = False
    positive: str = ""
    most: int = 10_000
    sequence_length: Mapping[str, int] = dataclasses.field(default_factory=dict)  # SeqIO fills it in

    def __str__(self) -> str:
        return f"LabelExamples({getattr(self.make, '__name__', 'make')})"

    @property
    def predicted_share(self) -> float:
        return WORD_SHARE if self.by_word else SENTENCE_SHARE

    def labels(self) -> list[str]:
        """Returns the labels as the run's vocabulary has them, "SET:LABEL", sorted.

        They are those of the training records of all languages, counted once a corpus and kept beside it.

        Raises:
            UserError: there are none, or the corpus cannot be written to.
        """
        counts = _label_counts(self.corpus(), self.make)
        if not counts:
            raise UserError(f"the {self.label_set} tasks have no labelled training record in {self.corpus().name}")
        frequent = sorted(counts, key=lambda label: (-counts[label], label))[: self.most]
        return sorted(f"{self.label_set}:{label}" for label in frequent)

    def __call__(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        vocabulary = current_vocabulary()
        ids = own_labels(vocabulary, self.label_set)
        length = self.sequence_length["inputs"]
        most = prediction_budget(length, self.predicted_share)
        from_json = RECORDS[self.corpus().kind].from_json

        def label(lines: np.ndarray, generator: np.random.Generator) -> InputsAndTargets:
            made = [item for line in lines if (item := self.make(from_json(line))) is not None]
            # All pieces at once: a call of SentencePiece costs as much as many words.
            encoded = iter(vocabulary.encode([piece for item in made for piece, _ in item.pieces]))
            examples = (
                _example(item, list(itertools.islice(encoded, len(item.pieces))), ids, length, most) for item in made
            )
            return [example for example in examples if example[1].any()]

        return examples_of(dataset.batch(_LINES_AT_ONCE), label)


def own_labels(vocabulary: Vocabulary, label_set: str) -> dict[str, int]:
    """Returns label -> id of one set; raises UserError where the vocabulary has none of it."""
    prefix = f"{label_set}:"
    ids = {
        label.removeprefix(prefix): index for label, index in vocabulary.label_ids.items() if label.startswith(prefix)
    }
    if not ids:
        raise UserError(f"the run has no labels of {label_set!r}; set its vocabulary with those of its mixture")
    return ids


def labelling(task: seqio.Task) -> LabelExamples | None:
    """Returns the step that labels a task's examples; None for other tasks."""
    return next((step for step in task.preprocessors if isinstance(step, LabelExamples)), None)


def mixture_labels(*names: str) -> tuple[str, ...]:
    """Returns the labels that the tasks of mixtures predict, sorted: those to append to a run's vocabulary.

    Raises:
        UserError: an unknown name, or as `LabelExamples.labels`.
    """
    steps = (labelling(task) for task in find_tasks(*names))
    return tuple(sorted({label for step in steps if step is not None for label in step.labels()}))


def _example(
    labelled: Labelled, encoded: list[list[int]], ids: Mapping[str, int], length: int, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns inputs and targets of a text, given the tokens of its pieces."""
    tokens: list[int] = []
    targets: list[int] = []
    if not any(label for _, label in labelled.pieces):
        encoded = _fitting(encoded, length - 1)
    predictions = 1 if labelled.label else 0
    for (_, label), piece in zip(labelled.pieces, encoded, strict=True):
        predictions += bool(label)
        if predictions > most:
            break
        tokens += piece
        targets += [ids.get(label, UNK_ID) if label else 0, *[0] * (len(piece) - 1)][: len(piece)]
    tokens, targets = tokens[: length - 1], targets[: length - 1]
    inputs = np.array([*tokens, EOS_ID], np.int32)
    return inputs, np.array([*targets, ids.get(labelled.label, UNK_ID) if labelled.label else 0], np.int32)


def _fitting(pieces: list[list[int]], room: int) -> list[list[int]]:
    """Returns pieces of at most `room` tokens together: none but the longest are cut, to the same length."""
    most = room
    sizes = sorted(map(len, pieces))
    if sum(sizes) > room:
        left = room
        for index, size in enumerate(sizes):
            most = left // (len(sizes) - index)
            if size > most:
                break
            left -= size
    return [piece[:most] for piece in pieces]


def _label_counts(corpus: Corpus, make: MakeLabelled) -> Mapping[str, int]:
    def count() -> Mapping[str, int]:
        return collections.Counter(
            label
            for language in corpus.languages
            if corpus.count(language, "train")
            for record in corpus.records(language, "train")
            if (labelled := make(record)) is not None
            for label in labelled.labels
        )

    return kept(corpus.directory / f"labels-{source_fingerprint(make)}.json", count)

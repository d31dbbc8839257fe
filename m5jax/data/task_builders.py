"""From a corpus to registered SeqIO tasks: `add_language_tasks` is all that a module of `tasks/` calls.

Registration reads no data. A corpus is ingested, and the run's vocabulary looked up, when a dataset is first built.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import seqio
import tensorflow as tf

from m5jax.data.corpus import Corpus
from m5jax.data.denoising import ALEXATM, UL2, DenoiserMixture, PrefixSplit, SpanCorruption
from m5jax.data.masking_policy import BERT_MASKING, MaskingPolicy
from m5jax.data.preprocessors import Denoise, MaskTokens, split_long_examples
from m5jax.data.seqio_vocabulary import RunVocabulary
from m5jax.data.serialize import serialize_line
from m5jax.errors import UserError

SPLITS = ("train", "validation", "test")
OUTPUT_FEATURES = {
    "inputs": seqio.Feature(RunVocabulary(), add_eos=True),
    "targets": seqio.Feature(RunVocabulary(), add_eos=True),
}
Preprocessor = Callable[..., tf.data.Dataset]


def _masked(policy: MaskingPolicy) -> tuple[Preprocessor, ...]:
    return seqio.preprocessors.append_eos, split_long_examples, MaskTokens(policy)


def _denoised(mixture: DenoiserMixture) -> tuple[Preprocessor, ...]:
    return Denoise(mixture), seqio.preprocessors.append_eos


# By the last part of a task's name.
OBJECTIVES: Mapping[str, Sequence[Preprocessor]] = MappingProxyType(
    {
        "mlm": _masked(BERT_MASKING),
        "word_mlm": _masked(MaskingPolicy(unit="word")),
        "span_mlm": _masked(MaskingPolicy(unit="span")),
        "span_corruption": _denoised(DenoiserMixture((SpanCorruption(),), (1.0,))),
        "prefix_lm": _denoised(DenoiserMixture((PrefixSplit(),), (1.0,))),
        "ul2": _denoised(UL2),
        "alexatm": _denoised(ALEXATM),
    }
)
# Python is entered once for so many lines.
_LINES_AT_ONCE = 64


class CorpusDataSource(seqio.TextLineDataSource):
    """The canonical lines of one language of a corpus, which `corpus` returns when they are first needed.

    Its methods raise UserError where the corpus has no such language or split.
    """

    def __init__(self, corpus: Callable[[], Corpus], language: str) -> None:
        super().__init__(split_to_filepattern=dict.fromkeys(SPLITS, ""))
        self.corpus, self.language = corpus, language

    def list_shards(self, split: str) -> Sequence[str]:
        return [str(path) for path in self.corpus().files(self.language, split)]

    def num_input_examples(self, split: str) -> int:
        return self.corpus().count(self.language, split)


def serialize_records(dataset: tf.data.Dataset, corpus: Callable[[], Corpus]) -> tf.data.Dataset:
    """SeqIO preprocessor: from canonical lines of `corpus`, scalar strings, to `inputs`, the serialized text."""
    kind = corpus().kind

    def serialize(lines: np.ndarray) -> np.ndarray:
        return np.array([serialize_line(kind, line).encode("utf-8") for line in lines], dtype=object)

    def serialize_batch(lines: tf.Tensor) -> dict[str, tf.Tensor]:
        # Not stateful, so that the position of the iterator can be saved.
        return {"inputs": tf.numpy_function(serialize, [lines], tf.string, stateful=False)}

    batches = dataset.batch(_LINES_AT_ONCE).map(serialize_batch, num_parallel_calls=tf.data.AUTOTUNE)
    return batches.unbatch().map(lambda example: {"inputs": tf.ensure_shape(example["inputs"], [])})


def add_task(name: str, corpus: Callable[[], Corpus], language: str, objective: Sequence[Preprocessor]) -> None:
    """Registers one task over the serialized, tokenized records of a language.

    Args:
        name: letters, digits and underscores.
        corpus: called when data is first needed.
        language: the one to read.
        objective: SeqIO preprocessors from `inputs`, token ids without end token, to `inputs` and `targets`; one of
            `OBJECTIVES` or your own.

    Raises:
        UserError: the name is taken.
    """
    _check_free(name)
    corpus = functools.cache(corpus)
    seqio.TaskRegistry.add(
        name,
        source=CorpusDataSource(corpus, language),
        preprocessors=[
            functools.partial(serialize_records, corpus=corpus),
            functools.partial(seqio.preprocessors.tokenize, copy_pretokenized=False),
            *objective,
        ],
        output_features=OUTPUT_FEATURES,
    )


def add_mixture(name: str, tasks: Sequence[str]) -> None:
    """Registers a mixture; its own rates are n_i**0.5, which a run replaces by its exponent.

    Raises:
        UserError: the name is taken, or there is no task.
    """
    _check_free(name)
    if not tasks:
        raise UserError(f"cannot register the mixture {name}: it has no task")
    seqio.MixtureRegistry.add(name, list(tasks), default_rate=_square_root_rate)


def add_language_tasks(
    name: str,
    corpus: Callable[[], Corpus],
    languages: Sequence[str],
    objectives: Mapping[str, Sequence[Preprocessor]] = OBJECTIVES,
) -> None:
    """Registers, for each objective, the task `NAME_LANGUAGE_OBJECTIVE` of each language and their mixture
    `NAME_OBJECTIVE`.

    Other arguments and errors are those of `add_task` and `add_mixture`.
    """
    corpus = functools.cache(corpus)
    for objective, steps in objectives.items():
        tasks = {language: f"{name}_{language.replace('-', '_')}_{objective}" for language in languages}
        for language, task in tasks.items():
            add_task(task, corpus, language, steps)
        add_mixture(f"{name}_{objective}", list(tasks.values()))


def _check_free(name: str) -> None:
    if name in seqio.TaskRegistry.names() or name in seqio.MixtureRegistry.names():
        raise UserError(f"task {name} is registered already; choose another name")


def _square_root_rate(task: seqio.Task) -> float:
    return math.sqrt(task.num_input_examples("train"))

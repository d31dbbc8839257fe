"""From a corpus to registered SeqIO tasks: `add_language_tasks` is all that a module of `tasks/` calls.

Registration reads no data. A corpus is ingested, and the run's vocabulary looked up, when a dataset is first built.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import seqio
import tensorflow as tf

from m5jax.data.corpus import Corpus
from m5jax.data.corpus_source import CorpusDataSource, serialize_records
from m5jax.data.denoising import ALEXATM, UL2, DenoiserMixture, PrefixSplit, SpanCorruption
from m5jax.data.masking_policy import BERT_MASKING, MaskingPolicy
from m5jax.data.mixtures import add_mixture, check_free
from m5jax.data.preprocessors import Denoise, MaskTokens, split_long_examples
from m5jax.data.seqio_vocabulary import RunVocabulary

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
    check_free(name)
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

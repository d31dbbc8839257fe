"""From a corpus to registered SeqIO tasks: `add_language_tasks` is all that a module of `tasks/` calls.

Registration reads no data. A corpus is ingested, and the run's vocabulary looked up, when a dataset is first built.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import seqio
import tensorflow as tf

from m5jax.data.attributes import SEPARATORS, AttributeFormat
from m5jax.data.corpus import Corpus
from m5jax.data.corpus_source import CorpusDataSource, serialize_pairs, serialize_records
from m5jax.data.cut_texts import cut_and_end
from m5jax.data.denoising import ALEXATM, UL2, DenoiserMixture, PrefixSplit, SpanCorruption, WholeText
from m5jax.data.masking_policy import BERT_MASKING, MaskingPolicy
from m5jax.data.mixtures import add_mixture, check_free
from m5jax.data.preprocessors import Denoise, MaskTokens, split_long_examples
from m5jax.data.product_pairs import MakePair, infill_attributes, title_from_attributes
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
        "causal_lm": _denoised(DenoiserMixture((WholeText(),), (1.0,))),
        "prefix_lm": _denoised(DenoiserMixture((PrefixSplit(),), (1.0,))),
        "ul2": _denoised(UL2),
        "alexatm": _denoised(ALEXATM),
    }
)

ATTRIBUTE_FORMATS: Mapping[str, AttributeFormat] = MappingProxyType(
    {
        "plain_mlm": AttributeFormat("plain"),
        "names_mlm": AttributeFormat("names"),
        "shuffled_mlm": AttributeFormat(shuffled=True, dropout=0.1),
        "typed_mlm": AttributeFormat("typed"),
    }
)
VALUE_MASKINGS: Mapping[str, MaskingPolicy] = MappingProxyType(
    {
        "value_token_mlm": MaskingPolicy(rate=0.3, scope="values"),
        "value_mlm": MaskingPolicy(rate=0.3, scope="values", unit="value"),
    }
)
PRODUCT_PAIRS: Mapping[str, MakePair] = MappingProxyType(
    {
        "attribute_infilling": infill_attributes,
        "title_from_attributes": title_from_attributes,
    }
)


def task_name(name: str, language: str, objective: str) -> str:
    """Returns the name of the task of a language: letters, digits and underscores."""
    return f"{name}_{language.replace('-', '_').lower()}_{objective}"


def add_task(
    name: str,
    corpus: Callable[[], Corpus],
    language: str,
    objective: Sequence[Preprocessor],
    attributes: AttributeFormat = SEPARATORS,
) -> None:
    """Registers one task over the serialized, tokenized records of a language.

    Args:
        name: letters, digits and underscores.
        corpus: called when data is first needed.
        language: the one to read.
        objective: SeqIO preprocessors from `inputs`, token ids without end token, to `inputs` and `targets`; one of
            `OBJECTIVES` or your own.
        attributes: how products' attributes are written. A run keeps the format that most of its tasks have for
            `m5jax embed`.

    Raises:
        UserError: the name is taken.
    """
    serialize = functools.partial(serialize_records, corpus=corpus, attributes=attributes)
    # Before the first step that is random or knows the row's length.
    cache = [] if attributes.is_random else [seqio.CacheDatasetPlaceholder()]
    register(name, corpus, language, [serialize, _TOKENIZE, *cache, *objective])


_TOKENIZE = functools.partial(seqio.preprocessors.tokenize, copy_pretokenized=False)


def register(
    name: str,
    corpus: Callable[[], Corpus],
    language: str,
    steps: Sequence[Preprocessor],
    metrics: Sequence[Callable[..., dict[str, float]]] = (),
) -> None:
    """Registers one task over the canonical lines of a language.

    Args:
        name, corpus, language: as in `add_task`.
        steps: SeqIO preprocessors from lines to `inputs` and `targets`.
        metrics: functions of `targets` and `predictions` or `scores`; see `metric_functions`.

    Raises:
        UserError: the name is taken.
    """
    check_free(name)
    seqio.TaskRegistry.add(
        name,
        source=CorpusDataSource(functools.cache(corpus), language),
        preprocessors=list(steps),
        output_features=OUTPUT_FEATURES,
        metric_fns=list(metrics),
    )


def add_pair_task(
    name: str,
    corpus: Callable[[], Corpus],
    language: str,
    make: MakePair,
    metrics: Sequence[Callable[..., dict[str, float]]] = (),
) -> None:
    """Registers one text-to-text task over the records of a language; texts that are too long are cut, and counted.

    Args:
        name, corpus, language, metrics: as in `register`.
        make: from a record to inputs and targets; one of `PRODUCT_PAIRS` or your own.

    Raises:
        UserError: the name is taken.
    """
    serialize = functools.partial(serialize_pairs, corpus=corpus, make=make)
    steps = [serialize, _TOKENIZE, seqio.CacheDatasetPlaceholder(), functools.partial(cut_and_end, task=name)]
    register(name, corpus, language, steps, metrics)


def add_product_tasks(name: str, corpus: Callable[[], Corpus], languages: Sequence[str]) -> None:
    """Registers the tasks that need products, and mixtures of them, named as by `add_language_tasks`.

    For each of `ATTRIBUTE_FORMATS` masked LM (`plain_mlm`, ...), for each of `VALUE_MASKINGS` the prediction of values
    (`value_mlm`, ...), and for each of `PRODUCT_PAIRS` its text-to-text task (`attribute_infilling`, ...).
    """
    corpus = functools.cache(corpus)
    for objective in (*ATTRIBUTE_FORMATS, *VALUE_MASKINGS, *PRODUCT_PAIRS):
        tasks = {language: task_name(name, language, objective) for language in languages}
        for language, task in tasks.items():
            if objective in PRODUCT_PAIRS:
                add_pair_task(task, corpus, language, PRODUCT_PAIRS[objective])
            else:
                policy = VALUE_MASKINGS.get(objective, BERT_MASKING)
                add_task(task, corpus, language, _masked(policy), ATTRIBUTE_FORMATS.get(objective, SEPARATORS))
        add_mixture(f"{name}_{objective}", list(tasks.values()))


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
        tasks = {language: task_name(name, language, objective) for language in languages}
        for language, task in tasks.items():
            add_task(task, corpus, language, steps)
        add_mixture(f"{name}_{objective}", list(tasks.values()))

"""From labelled rows to registered SeqIO tasks, each in an encoder's form and in a written one."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from m5jax.data import labelled_examples
from m5jax.data.corpus import Corpus
from m5jax.data.labelled_examples import CLICK_LABELS, MakeLabelled, text_to_text
from m5jax.data.labelled_records import DUPLICATE
from m5jax.data.labels import LabelExamples
from m5jax.data.metric_functions import accuracy, click_ranking, duplicate_f1, exact_match, macro_f1, span_f1
from m5jax.data.mixtures import add_mixture
from m5jax.data.records import RecordKind
from m5jax.data.task_builders import add_pair_task, register
from m5jax.errors import unknown_name

MetricFunction = Callable[..., dict[str, float]]


@dataclasses.dataclass(frozen=True)
class Family:
    """A kind of labelled task.

    Attributes:
        kind: of its records.
        make: an example of a record.
        metrics: of the encoder's form; of the written one there is the exact match.
        by_word: words have labels.
        positive: of two labels, the one that scores are of.
    """

    kind: RecordKind
    make: MakeLabelled
    metrics: tuple[MetricFunction, ...]
    by_word: bool = False
    positive: str = ""


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "product_type": Family("product", labelled_examples.product_type, (accuracy, macro_f1)),
        "attribute_spans": Family("product", labelled_examples.attribute_spans, (span_f1,), by_word=True),
        "duplicates": Family("pair", labelled_examples.duplicate, (accuracy, duplicate_f1), positive=DUPLICATE),
        "relevance": Family("judgement", labelled_examples.relevance, (accuracy, macro_f1)),
        "clicks": Family("judgement", labelled_examples.click, (click_ranking,), positive=CLICK_LABELS[1]),
        "next_query": Family("session", labelled_examples.next_query, (accuracy,)),
        "intent_and_slots": Family("utterance", labelled_examples.intent_and_slots, (accuracy, span_f1), by_word=True),
    }
)


def add_labelled_tasks(
    name: str,
    corpus: Callable[[], Corpus],
    languages: Sequence[str],
    family: str | Family,
    suffix: str = "",
) -> None:
    """Registers `NAME_LANGUAGE_FAMILY`, whose labels an encoder predicts, and `NAME_LANGUAGE_FAMILY_text`, which writes
    them, for each language, and the mixtures `NAME_FAMILY` and `NAME_FAMILY_text`.

    Args:
        name: of the corpus; its labels are shared over its languages, those with a positive one over all corpora.
        corpus: called when data is first needed; of the family's kind of record.
        languages: those to read.
        family: one of `FAMILIES`, or your own with a `suffix` for the tasks' names.

    Raises:
        UserError: the family is unknown, or a name is taken.
    """
    if isinstance(family, str):
        if family not in FAMILIES:
            raise unknown_name("family of labelled tasks", family, FAMILIES)
        suffix, family = family, FAMILIES[family]
    checked = functools.cache(functools.partial(_checked, corpus, family.kind))
    # Duplicates are duplicates in every corpus, but each has product types of its own.
    label_set = suffix if family.positive else f"{name}_{suffix}"
    step = LabelExamples(checked, family.make, label_set, by_word=family.by_word, positive=family.positive)
    written = functools.partial(text_to_text, make=family.make)
    labelled, texts = [], []
    for language in languages:
        labelled.append(f"{name}_{language.replace('-', '_')}_{suffix}")
        texts.append(f"{labelled[-1]}_text")
        register(labelled[-1], checked, language, [step], family.metrics)
        add_pair_task(texts[-1], checked, language, written, (exact_match,))
    add_mixture(f"{name}_{suffix}", labelled)
    add_mixture(f"{name}_{suffix}_text", texts)


def _checked(corpus: Callable[[], Corpus], kind: RecordKind) -> Any:
    made = corpus()
    made.check_kind(kind)
    return made

"""The format in which a run's products are embedded, from the tasks that it is trained on."""

import collections
import dataclasses
import functools

import seqio

from m5jax.data.attributes import SEPARATORS, AttributeFormat
from m5jax.data.corpus_source import CorpusDataSource, serialize_records
from m5jax.data.mixtures import find_tasks


def embedding_format(name: str) -> AttributeFormat:
    """Returns the attribute format that most tasks of a task or mixture read products in, without what is random in it.

    The default one where no task reads products whole, and where it is as frequent as others. Raises UserError as
    `find_tasks`, and for a corpus that cannot be read.
    """
    formats = collections.Counter(
        format_ for task in find_tasks(name) for step in task.preprocessors if (format_ := _format(task, step))
    )
    return max(formats, key=lambda format_: (formats[format_], format_ == SEPARATORS), default=SEPARATORS)


def _format(task: seqio.Task, step: object) -> AttributeFormat | None:
    if not (isinstance(step, functools.partial) and step.func is serialize_records):
        return None
    if not isinstance(task.source, CorpusDataSource) or task.source.corpus().kind != "product":
        return None
    settled = dataclasses.replace(step.keywords["attributes"], shuffled=False, dropout=0.0)
    return settled.for_corpus(task.source.corpus())

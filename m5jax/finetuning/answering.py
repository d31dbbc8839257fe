"""Answers of a model to examples, while it is trained and afterwards."""

from collections.abc import Callable, Sequence

import numpy as np
from jax.sharding import Mesh

from m5jax.data.vocabulary import Vocabulary
from m5jax.finetuning.answers import Answers, make_answers
from m5jax.finetuning.examples import Example
from m5jax.finetuning.rows import PairRows, SequenceRows, Tokenizer, encode_examples
from m5jax.finetuning.scoring import Scorer
from m5jax.finetuning.tasks import Labels, Task, TextToTextTask
from m5jax.inference.generator import Generator
from m5jax.models import FunctionalModel, Parameters

Answer = Callable[[Parameters], Answers]


def make_answerer(
    task: Task,
    examples: Sequence[Example],
    labels: Labels,
    model: FunctionalModel,
    mesh: Mesh,
    tokenizer: Tokenizer,
    length: int,
    batch_size: int,
) -> Answer:
    """Returns a function from parameters to a model's answers to examples; programs are compiled once.

    Args:
      task: of the examples.
      examples: in any number.
      labels: that the model knows.
      model: of the task.
      mesh: where parameters live.
      tokenizer: of the model.
      length: most tokens of what such a model reads.
      batch_size: rows at a time.

    Raises:
      UserError: an example has a label that is none of `labels`.
    """
    if isinstance(task, TextToTextTask):
        assert isinstance(tokenizer, Vocabulary)
        return _writer(task, [example.texts[0] for example in examples], model, mesh, tokenizer, length, batch_size)
    scorer = Scorer(model, mesh, batch_size)
    rows = encode_examples(examples, task, labels, tokenizer, length)

    def answer(parameters: Parameters) -> Answers:
        if isinstance(rows, PairRows):
            return make_answers(scorer.pairs(parameters, rows), rows, examples, labels)
        assert isinstance(rows, SequenceRows)
        return make_answers(scorer.sequences(parameters, rows), rows, examples, labels)

    return answer


def _writer(
    task: TextToTextTask,
    texts: Sequence[str],
    model: FunctionalModel,
    mesh: Mesh,
    vocabulary: Vocabulary,
    length: int,
    batch_size: int,
) -> Answer:
    generators: list[Generator] = []

    def answer(parameters: Parameters) -> Answers:
        if not generators:
            generators.append(Generator(model, parameters, vocabulary, mesh, length, task.targets_length))
        generators[0].parameters = parameters
        return Answers(np.zeros(0), texts=tuple(generators[0].generate(texts, batch_size)))

    return answer

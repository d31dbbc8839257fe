"""A function from parameters to answers, against the parts it is made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from m5jax.data.vocabulary import Vocabulary
from m5jax.finetuning.answering import make_answerer
from m5jax.finetuning.answers import make_answers
from m5jax.finetuning.examples import Example
from m5jax.finetuning.rows import PairRows, SequenceRows, encode_examples
from m5jax.finetuning.scoring import Scorer
from m5jax.finetuning.tasks import Labels, Task, TextToTextTask, TwoTowerTask, UtteranceTask
from m5jax.models import EncoderConfig, EncoderDecoderConfig, FunctionalModel, Parameters
from partitioning import MeshConfig, make_mesh

LABELS = Labels(("play", "stop"), ("B-x", "O"))
PAIRS = [Example("valid:1", ("red", "lamp"), 1.0), Example("valid:2", ("blue lamp", "chair"), 0.0)]
UTTERANCES = [
    Example("valid:1", ("red", "lamp"), "play", ("O", "B-x")),
    Example("valid:2", ("steel", "xyz", "chair"), "stop", ("O", "O", "O")),
]


def drawn(model: FunctionalModel, seed: int) -> Parameters:
    random = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(random.normal(0, 0.3, leaf.shape), jnp.float32), model.abstract_parameters
    )


@pytest.mark.parametrize(("task", "examples"), [(TwoTowerTask(), PAIRS), (UtteranceTask(), UTTERANCES)])
def test_answers_are_those_of_the_parameters_that_are_given(
    task: TwoTowerTask | UtteranceTask, examples: list[Example], vocabulary: Vocabulary
) -> None:
    encoder = EncoderConfig(vocab_size=425, width=16, layers=2, heads=2, mlp_hidden=24, max_length=16)
    model = FunctionalModel.from_config(task.model(encoder, LABELS))
    rows, mesh = encode_examples(examples, task, LABELS, vocabulary, 16), make_mesh(MeshConfig(), jax.devices()[:1])
    answer = make_answerer(task, examples, LABELS, model, mesh, vocabulary, 16, 2)
    seen = []
    for seed in (0, 1):
        parameters = drawn(model, seed)
        scorer = Scorer(model, mesh, 1)
        if isinstance(rows, PairRows):
            outputs = scorer.pairs(parameters, rows)
        else:
            assert isinstance(rows, SequenceRows)
            outputs = scorer.sequences(parameters, rows)
        got, expected = answer(parameters), make_answers(outputs, rows, examples, LABELS)
        np.testing.assert_allclose(got.scores, expected.scores, atol=1e-5)
        assert (got.classes, got.tags, got.texts) == (expected.classes, expected.tags, ())
        seen.append(got.scores.tolist())
    assert seen[0] != seen[1]
    if isinstance(task, UtteranceTask):
        assert [len(tags) for tags in got.tags] == [2, 3]


def test_texts_are_written_with_the_parameters_that_are_given(vocabulary: Vocabulary) -> None:
    task: Task = TextToTextTask(targets_length=4)
    config = EncoderDecoderConfig(
        vocab_size=425, width=16, encoder_layers=1, decoder_layers=1, heads=2, head_dim=8, mlp_hidden=24
    )
    model = FunctionalModel.from_config(config)
    examples = [Example("valid:1", ("red lamp",), "lamp"), Example("valid:2", ("chair",), "chair")]
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    answer = make_answerer(task, examples, Labels(), model, mesh, vocabulary, 16, 2)
    first, second, again = (answer(drawn(model, seed)).texts for seed in (0, 1, 0))
    assert len(first) == 2
    assert first == again != second

"""What a model says of blanks, against one text at a time without batches, buckets or padding."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from m5jax.data.vocabulary import FIRST_TEXT_ID, Vocabulary
from m5jax.errors import UserError
from m5jax.evaluation.cloze import Cloze
from m5jax.evaluation.cloze_answers import Answer, answer_clozes, make_predict
from m5jax.evaluation.masked_values import Values
from m5jax.evaluation.masked_words import WordHiding
from m5jax.models import FunctionalModel, Parameters
from partitioning import tree_shardings
from tests.evaluation.small_vocabulary import TEXTS, small_vocabulary, tokens_of
from tests.training.tiny import eight_devices, encoder, one_device


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    folder: Path = tmp_path_factory.mktemp("vocabulary")
    return small_vocabulary(folder)


@pytest.fixture(scope="module")
def model(vocabulary: Vocabulary) -> FunctionalModel:
    return encoder(vocab_size=vocabulary.size + 5, max_length=128)


@pytest.fixture(scope="module")
def parameters(model: FunctionalModel, vocabulary: Vocabulary) -> Parameters:
    """Those of a model for which ids that are no text are the likeliest, and few texts after them."""
    drawn = jax.tree.map(lambda leaf: 5 * leaf, model.init(jax.random.key(1)))
    embedding = np.array(drawn["embedding"])
    embedding[:FIRST_TEXT_ID] *= 5
    embedding[vocabulary.text_size :] *= 5
    return drawn | {"embedding": jnp.asarray(embedding)}


def clozes_of(vocabulary: Vocabulary) -> list[Cloze]:
    texts = [tokens_of(vocabulary, text) for text in TEXTS.values()]
    words = [cloze for text in texts if (cloze := WordHiding(vocabulary, share=0.4)(text))]
    return [*words, *(cloze for text in texts for cloze in Values(vocabulary).clozes(text))]


def naive(
    model: FunctionalModel, parameters: Parameters, cloze: Cloze, text_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the likeliest text id and the loss at each token."""
    example = cloze.example
    module = model.bind(parameters)
    ones, positions = np.ones_like(example.inputs), np.arange(len(example.inputs), dtype=np.int32)
    rows = (jnp.asarray(row[None]) for row in (example.inputs, ones, positions))
    hidden = module(*rows)
    logits = np.asarray(module.logits(hidden), np.float64)[0]
    losses = np.log(np.exp(logits).sum(axis=-1)) - logits[positions, example.targets]
    allowed = np.where(
        (np.arange(logits.shape[1]) >= FIRST_TEXT_ID) & (np.arange(logits.shape[1]) < text_size), 0, -1e9
    )
    return np.argmax(logits + allowed, axis=-1), losses


@pytest.mark.parametrize("mesh", [one_device(), eight_devices()], ids=["one", "eight"])
def test_answers_are_those_of_each_text_alone(
    vocabulary: Vocabulary, model: FunctionalModel, parameters: Parameters, mesh: Mesh
) -> None:
    clozes = clozes_of(vocabulary)
    placed = jax.device_put(parameters, tree_shardings(mesh, model.abstract_parameters, model.logical_axes))
    predict = make_predict(model, mesh, vocabulary.text_size, batch_size=3)
    found = answer_clozes(clozes, predict, placed, vocabulary)
    for cloze, answers in zip(clozes, found, strict=True):
        ids, losses = naive(model, parameters, cloze, vocabulary.text_size)
        assert len(answers) == len(cloze.blanks)
        for blank, answer in zip(cloze.blanks, answers, strict=True):
            right = cloze.example.targets[blank.positions].tolist()
            said = ids[blank.positions].tolist()
            assert (answer.unit, answer.blank) == (cloze.unit, blank)
            assert (answer.target, answer.predicted) == tuple(vocabulary.decode(own).strip() for own in (right, said))
            assert answer.correct == (right == said)
            assert answer.loss == pytest.approx(losses[blank.positions].sum(), rel=1e-4)
    assert max(len(answer.blank.positions) for answers in found for answer in answers) > 3


def answers_of(vocabulary: Vocabulary, cloze: Cloze, ids: np.ndarray, losses: np.ndarray) -> list[Answer]:
    """Returns answers where the model says `ids` of the hidden tokens, in order."""
    return answer_clozes([cloze], lambda *_: [(ids, losses)], {}, vocabulary)[0]


def test_a_word_is_right_only_where_all_its_tokens_are(vocabulary: Vocabulary) -> None:
    cloze = max(clozes_of(vocabulary), key=lambda cloze: len(cloze.blanks))
    right = cloze.example.targets[cloze.example.targets > 0]
    losses = np.arange(len(right), dtype=np.float32)
    assert all(answer.correct for answer in answers_of(vocabulary, cloze, right, losses))
    order = np.flatnonzero(cloze.example.targets)
    for place, position in enumerate(order):
        wrong = right.copy()
        wrong[place] = FIRST_TEXT_ID + (right[place] == FIRST_TEXT_ID)
        answers = answers_of(vocabulary, cloze, wrong, losses)
        assert [not answer.correct for answer in answers] == [position in blank.positions for blank in cloze.blanks]
    sums = [losses[np.isin(order, blank.positions)].sum() for blank in cloze.blanks]
    assert [answer.loss for answer in answers_of(vocabulary, cloze, right, losses)] == sums


def test_a_loss_that_is_not_finite_is_said_in_one_line(vocabulary: Vocabulary) -> None:
    cloze = clozes_of(vocabulary)[0]
    right = cloze.example.targets[cloze.example.targets > 0]
    with pytest.raises(UserError, match="loss on held-out data is not finite"):
        answers_of(vocabulary, cloze, right, np.full(len(right), np.nan, np.float32))

"""The likeliest fills of masks, against one text at a time; and the file they are read from."""

import itertools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from m5jax.data.examples import Example, unpack_rows
from m5jax.data.packing import pack_window
from m5jax.data.vocabulary import FIRST_TEXT_ID, MASK_ID, Vocabulary
from m5jax.errors import UserError
from m5jax.evaluation.fill_masks import make_fill
from m5jax.evaluation.filled_texts import FILE_NAME, FILLS, FilledBlank, FilledText, filled_as_json, read_filled
from m5jax.evaluation.report import write_report
from m5jax.training.run_log import RunLog
from partitioning import tree_shardings
from tests.evaluation.html_checks import Page
from tests.evaluation.small_vocabulary import TEXTS, small_vocabulary, tokens_of
from tests.training.tiny import eight_devices, encoder, one_device

LENGTH, BUDGET, ROWS = 64, 32, 8


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    folder: Path = tmp_path_factory.mktemp("vocabulary")
    return small_vocabulary(folder)


def masked(text: np.ndarray) -> Example:
    """Returns a text of which the fourth token is masked, the sixth another, the seventh masked, and all predicted."""
    inputs, targets = text.copy(), np.zeros_like(text)
    for place, token in ((3, MASK_ID), (5, text[1]), (6, MASK_ID)):
        inputs[place], targets[place] = token, text[place]
    return Example(inputs, targets, np.ones_like(text))


def packed(examples: list[Example]) -> dict[str, np.ndarray]:
    """Returns a batch whose first rows are packed with the examples."""
    splits = np.cumsum([0, *(len(example.inputs) for example in examples)])
    inputs, targets = (np.concatenate([example[part] for example in examples]) for part in (0, 1))
    rows = pack_window(inputs, targets, splits, length=LENGTH, budget=BUDGET, pack=True)
    return {name: np.pad(array, [(0, ROWS - len(array)), (0, 0)]) for name, array in rows.items()}


@pytest.mark.parametrize("mesh", [one_device(), eight_devices()], ids=["one", "eight"])
def test_fills_are_the_likeliest_pieces_of_each_text_alone(vocabulary: Vocabulary, mesh: Mesh) -> None:
    model = encoder(vocab_size=vocabulary.size + 5, max_length=LENGTH)
    parameters = jax.tree.map(lambda leaf: 2 * leaf, model.init(jax.random.key(1)))
    examples = [masked(tokens_of(vocabulary, text)[:20]) for text in (*TEXTS.values(), TEXTS["en"])]
    placed = jax.device_put(parameters, tree_shardings(mesh, model.abstract_parameters, model.logical_axes))
    rows = packed(examples)
    filled = make_fill(model, mesh, {"en": [rows], "de": [packed(examples[1:2])]}, vocabulary)(placed)
    assert [len(filled["en"]), len(filled["de"])] == [3, 1]
    module = model.bind(parameters)
    for example, text in zip(itertools.islice(unpack_rows(rows), 3), filled["en"], strict=True):
        ones, positions = np.ones_like(example.inputs), np.arange(len(example.inputs), dtype=np.int32)
        hidden = module(*(jnp.asarray(row[None]) for row in (example.inputs, ones, positions)))
        probabilities = np.asarray(jax.nn.softmax(module.logits(hidden)))[0]
        assert [blank.hidden for blank in text.blanks] == vocabulary.pieces(example.targets[[3, 6]])
        for blank, place in zip(text.blanks, (3, 6), strict=True):
            of_text = probabilities[place, FIRST_TEXT_ID : vocabulary.text_size]
            order = np.argsort(-of_text)[:FILLS]
            assert [fill for fill, _ in blank.fills] == vocabulary.pieces(order + FIRST_TEXT_ID)
            np.testing.assert_allclose([share for _, share in blank.fills], of_text[order], rtol=1e-4)


def test_a_text_is_shown_with_numbers_for_its_masks(vocabulary: Vocabulary) -> None:
    model = encoder(vocab_size=vocabulary.size, max_length=LENGTH)
    example = masked(tokens_of(vocabulary, "red kettle with a removable filter"))
    mesh = one_device()
    (text,) = make_fill(model, mesh, {"en": [packed([example])]}, vocabulary)(model.init(jax.random.key(0)))["en"]
    first, second = text.text.index("[1]"), text.text.index("[2]")
    for part in (text.text[:first], text.text[first + 3 : second], text.text[second + 3 :]):
        assert part.strip() in vocabulary.decode(example.inputs.tolist())
    pieces = vocabulary.pieces(example.targets[[3, 6]])
    assert [text.text[at - 1] == " " for at in (first, second)] == [piece.startswith("\u2581") for piece in pieces]


TEXT = FilledText("a <b> [1]", [FilledBlank("\u2581kettle", [("<i>", 0.75), ("\u2581pot", 0.25)])])


def test_samples_are_read_as_they_were_written_and_shown_in_the_report(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(json.dumps(filled_as_json({"en": [TEXT]})), encoding="utf-8")
    assert read_filled(tmp_path) == {"en": [TEXT]}
    with RunLog(tmp_path) as log:
        log.write(10, {"train/loss": 1.0, "train/weight_norm": 3.0, "mixture/en": 0.75, "mixture/de": 0.25})
        log.write(20, {"train/loss": 1.0, "mixture/en": 0.65, "mixture/de": 0.35})
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert page.tags["b"] == page.tags["i"] == 0
    assert page.cells == ["en", "70.0%", "de", "30.0%", "[1]", "\u2581kettle", "<i> 75%", "\u2581pot 25%"]
    text = "".join(page.texts)
    for shown in ("en: a <b> [1]", "Share of predicted tokens", "Norm of the trained weights"):
        assert shown in text


@pytest.mark.parametrize("content", ["{", "[]", '{"en": 1}', '{"en": [{"text": "a"}]}', '{"en": [{"blanks": [[1]]}]}'])
def test_a_damaged_file_of_samples_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    with pytest.raises(UserError, match=rf"cannot read the samples .*{FILE_NAME}"):
        read_filled(tmp_path)

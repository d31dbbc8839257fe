"""Texts to texts: cut where too long, in order whatever their lengths, held to labels."""

import io

import jax
import pytest

from m5jax.errors import UserError
from m5jax.inference.beam_search import Beams
from m5jax.inference.decoding import Sampling
from m5jax.inference.generate_lines import generate_lines, read_lines
from m5jax.inference.generator import Generator
from m5jax.models import FunctionalModel
from partitioning import MeshConfig, make_mesh
from tests.models.tiny import decoder, encoder_decoder

TEXTS = ["red lamp", "blue cotton chair in the garden of steel", "kettle", ""]
LABELS = ["red lamp", "red chair", "kitchen"]


@pytest.fixture(scope="module")
def make(vocabulary):
    config = encoder_decoder(vocab_size=512)[0].config
    model = FunctionalModel.from_config(config)
    parameters = model.init(jax.random.key(0))

    def generator(length=6, sampling=None, labels=(), inputs_length=64):
        mesh = make_mesh(MeshConfig())
        return Generator(model, parameters, vocabulary, mesh, inputs_length, length, sampling or Sampling(), labels)

    return generator


def test_texts_are_answered_in_order_as_each_alone(make):
    generator = make()
    together = generator.generate(TEXTS, 8)
    assert together == [generator.generate([text], 8)[0] for text in TEXTS]
    assert generator.generate([], 8) == []
    assert generator.texts_cut == 0


def test_long_texts_are_cut_and_counted(make):
    generator = make(inputs_length=16)
    long = " ".join(["lamp"] * 40)
    assert generator.generate([long, "lamp"], 8)[0] == generator.generate([f"{long} and more"], 8)[0]
    assert generator.texts_cut == 2


def test_answers_are_held_to_the_labels(make):
    assert set(make(12, labels=LABELS).generate(TEXTS, 8)) <= set(LABELS)
    sampled = make(12, Sampling(1.0), LABELS)
    assert set(sampled.generate(TEXTS, 8)) <= set(LABELS)
    assert sampled.generate(TEXTS, 8, seed=3) == sampled.generate(TEXTS, 8, seed=3)


def test_beams_find_the_likeliest_label(make):
    answers = make(12, Beams(4, 0.0), LABELS).generate(TEXTS, 8)
    assert set(answers) <= set(LABELS)
    assert answers == make(12, Beams(8, 0.0), LABELS).generate(TEXTS, 8)


def test_a_decoder_goes_on_with_texts_and_long_ones_lose_their_start(vocabulary):
    model = FunctionalModel.from_config(decoder(vocab_size=512)[0].config)
    parameters, mesh = model.init(jax.random.key(0)), make_mesh(MeshConfig())
    generator = Generator(model, parameters, vocabulary, mesh, 16, 6, continues=True)
    long = " ".join(["kettle"] * 40)
    assert generator.generate([f"blue {long}"], 8) == generator.generate([f"red {long}"], 8)
    assert generator.texts_cut == 2
    assert Generator(model, parameters, vocabulary, mesh, 16, 6).generate(TEXTS, 8) != generator.generate(TEXTS, 8)


def test_lines_are_written_whole_or_not_at_all(make, tmp_path, capsys):
    (tmp_path / "in.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    generator = make(12, labels=LABELS)
    expected = generator.generate(TEXTS, 8)
    output = tmp_path / "out.txt"
    assert generate_lines(generator, tmp_path / "in.txt", output, 8, 0) == 4
    assert output.read_text(encoding="utf-8").splitlines() == expected
    assert (
        generate_lines(generator, io.StringIO("\n".join(TEXTS)), None, 8, 0) == 3
    )  # a last line without its end is none
    with pytest.raises(UserError, match=r"out\.txt exists; remove it"):
        generate_lines(generator, tmp_path / "in.txt", output, 8, 0)
    (tmp_path / "in.txt").write_bytes(b"a\nb\n\xff\n")
    with pytest.raises(UserError, match="cannot read .*in.txt"):
        generate_lines(generator, tmp_path / "in.txt", tmp_path / "other.txt", 8, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.txt", "out.txt"]


def test_what_cannot_be_written_is_refused(make, tmp_path):
    with pytest.raises(UserError, match=r"the label '.*' has \d tokens with its end, more than"):
        make(1, labels=LABELS)
    with pytest.raises(UserError, match="the length to write is 0"):
        make(0)
    (tmp_path / "labels.txt").write_text("\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"labels\.txt has no line of text"):
        read_lines(tmp_path / "labels.txt")

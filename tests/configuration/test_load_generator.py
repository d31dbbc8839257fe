"""Generators of runs that were fine-tuned."""

import dataclasses
from pathlib import Path

import pytest

from m5jax.configuration.fine_tuned_run import LABELS, model_bindings
from m5jax.configuration.load_generator import load_generator
from m5jax.configuration.run_files import CONFIG
from m5jax.errors import UserError
from m5jax.files import write_json
from m5jax.finetuning.tasks import Labels
from m5jax.inference.decoding import Sampling
from tests.configuration.pretrained_run import encoder_decoder, write_run


@pytest.fixture(scope="module")
def fine_tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuned encoder-decoder made without fine-tuning."""
    run_dir = write_run(tmp_path_factory.mktemp("runs") / "text_to_text", encoder_decoder())
    values = {"run_dir": str(run_dir), "pretrained": str(run_dir), "train": ("a",), "valid": ("b",), "length": 24}
    bound = [*model_bindings(run_dir), *(f"FineTuning.{name} = {value!r}" for name, value in values.items())]
    lines = ["include 'gin_configs/recipes/text_to_text.gin'", *bound]
    (run_dir / CONFIG).write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_json(run_dir / LABELS, dataclasses.asdict(Labels()))
    return run_dir


def test_a_fine_tuned_encoder_decoder_reads_texts_as_it_was_trained_to(fine_tuned: Path) -> None:
    generator = load_generator(fine_tuned, 8, Sampling())
    assert (generator.inputs_length, generator.length, generator.continues) == (24, 8, False)


def test_a_fine_tuned_encoder_decoder_does_not_go_on_with_a_text(fine_tuned: Path) -> None:
    with pytest.raises(UserError, match="an encoder-decoder does not go on with its inputs"):
        load_generator(fine_tuned, 8, Sampling(), continues=True)

"""The encoder-decoder or decoder of a run, pre-trained or fine-tuned, ready to write."""

from collections.abc import Sequence
from pathlib import Path

from m5jax.configuration.fine_tuned_run import is_fine_tuned, load_fine_tuned
from m5jax.configuration.load import check_model, load_run_directory, restore_run
from m5jax.configuration.run import Run
from m5jax.data.vocabulary import Vocabulary
from m5jax.errors import UserError
from m5jax.finetuning.tasks import TextToTextTask
from m5jax.inference.beam_search import Beams
from m5jax.inference.decoding import Sampling
from m5jax.inference.generator import Generator
from m5jax.models import DecoderConfig, EncoderDecoderConfig


def load_generator(
    run_dir: Path,
    length: int,
    strategy: Sampling | Beams,
    labels: Sequence[str] = (),
    continues: bool = False,
    step: int | None = None,
) -> Generator:
    """Returns the encoder-decoder or decoder of a run, ready to write on all devices.

    Args:
        run_dir: of the run.
        length: the most tokens to write.
        strategy: how tokens are chosen.
        labels: texts that may be written; empty: any.
        continues: texts are the beginning of what a decoder writes.
        step: of the checkpoint; None: the newest intact one, of a fine-tuning the best.

    Raises:
        UserError: no such run or checkpoint, its model does not write or not so, a label is longer than `length`, or
            that leaves no room for a text.
    """
    if is_fine_tuned(run_dir):
        tuned = load_fine_tuned(run_dir, step)
        if not isinstance(tuned.tokenizer, Vocabulary) or not isinstance(tuned.config.task, TextToTextTask):
            raise UserError(
                f"{run_dir} was fine-tuned by {type(tuned.config.task).__name__}; allowed: runs of TextToTextTask, "
                "which writes"
            )
        _check_continues(continues)
        model, parameters, mesh = tuned.model, tuned.parameters, tuned.mesh
        vocabulary, inputs_length = tuned.tokenizer, tuned.config.length
    else:
        run = load_run_directory(run_dir)
        check_model(run, EncoderDecoderConfig, DecoderConfig)
        inputs_length = _inputs_length(run, length, continues)
        _, model, parameters, mesh = restore_run(run, step)
        vocabulary = Vocabulary.load(run.vocabulary)
    return Generator(model, parameters, vocabulary, mesh, inputs_length, length, strategy, labels, continues)


def _check_continues(continues: bool) -> None:
    if continues:
        raise UserError("an encoder-decoder does not go on with its inputs; allowed with a decoder: --continue")


def _inputs_length(run: Run, length: int, continues: bool) -> int:
    """Returns how many tokens of a text can be read beside those to write; raises UserError where none can."""
    if not isinstance(run.model, DecoderConfig):
        _check_continues(continues)
        return run.data.length
    if continues and run.model.bidirectional_prefix:
        raise UserError(
            f"the decoder of {run.directory} reads inputs in both directions and does not go on with them; leave "
            "--continue away"
        )
    room = run.model.max_length - length
    if room < 1 + continues:  # the end token of the text before
        raise UserError(
            f"{length} tokens to write leave no room for a text in the model's length, DecoderConfig.max_length = "
            f"{run.model.max_length}"
        )
    return room

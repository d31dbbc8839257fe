"""The encoder of a run, pre-trained or fine-tuned, ready to embed."""

from pathlib import Path

from m5jax.configuration.fine_tuned_run import is_fine_tuned, load_fine_tuned
from m5jax.configuration.load import check_model, load_run_directory, restore_run
from m5jax.configuration.run_directory import read_attributes
from m5jax.data.vocabulary import Vocabulary
from m5jax.errors import UserError
from m5jax.finetuning.tasks import TwoTowerTask
from m5jax.finetuning.tower_embedder import TowerEmbedder
from m5jax.inference.embedder import Embedder
from m5jax.models import EncoderConfig


def load_embedder(run_dir: Path, step: int | None = None) -> Embedder | TowerEmbedder:
    """Returns the encoder, or the towers, of a run (of `step`, or of its newest intact or best checkpoint), ready to
    embed on all devices.

    Raises:
        UserError: no such run or checkpoint, or its model makes no embeddings.
    """
    if is_fine_tuned(run_dir):
        tuned = load_fine_tuned(run_dir, step)
        if not isinstance(tuned.config.task, TwoTowerTask):
            raise UserError(
                f"{run_dir} was fine-tuned by {type(tuned.config.task).__name__}; allowed: runs of TwoTowerTask, which "
                "has embeddings"
            )
        length = tuned.config.length
        return TowerEmbedder(tuned.model, tuned.parameters, tuned.tokenizer, tuned.mesh, length, tuned.attributes)
    run = load_run_directory(run_dir)
    check_model(run, EncoderConfig)
    _, model, parameters, mesh = restore_run(run, step)
    return Embedder(model, parameters, Vocabulary.load(run.vocabulary), mesh, read_attributes(run_dir))

"""What a fine-tuning is made of: examples, labels, tokenizer and model, before anything is written."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from m5jax.configuration.fine_tuned_run import LABELS, NGRAMS, make_model
from m5jax.configuration.fine_tuning import FineTuning
from m5jax.configuration.run_directory import keep_attributes, keep_vocabulary, read_attributes
from m5jax.configuration.run_files import VOCABULARY
from m5jax.data.attributes import SEPARATORS, AttributeFormat
from m5jax.data.vocabulary import Vocabulary
from m5jax.errors import UserError
from m5jax.files import write_json
from m5jax.finetuning.answers import fits
from m5jax.finetuning.assessment import fingerprint
from m5jax.finetuning.examples import Columns, Example, read_examples
from m5jax.finetuning.ngrams import HashedNgrams, count_ngrams
from m5jax.finetuning.overlap import without_overlap
from m5jax.finetuning.rows import Tokenizer
from m5jax.finetuning.search_validation import needs_search
from m5jax.finetuning.tasks import Labels, TwoTowerTask, find_labels
from m5jax.models import FunctionalModel
from m5jax.models.mesh_checks import check_mesh
from m5jax.models.settings import ModelSettings
from m5jax.objectives import PairObjective
from partitioning import check_batch, make_mesh

EXAMPLES, VALID = "fine_tuned/training_examples.json", "fine_tuned/validation.json"


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What a fine-tuning is made of; nothing is written yet."""

    tokenizer: Tokenizer
    attributes: AttributeFormat
    training: list[Example]
    valid: list[Example]
    labels: Labels
    model: FunctionalModel
    mesh: Mesh
    by_search: bool  # how it is validated


def prepare(config: FineTuning) -> Prepared:
    """Reads the examples and describes the model.

    Raises:
      UserError: the files, or the run to begin with, are not as they must be.
    """
    mesh = make_mesh(config.mesh)
    parts = config.objective.embedding_parts if isinstance(config.objective, PairObjective) else 1
    check_batch(mesh, config.batch_size, config.accumulation * parts)
    if isinstance(config.encoder, ModelSettings):
        check_mesh(config.encoder, mesh, config.length, "FineTuning.length")
    run_dir = Path(config.pretrained)
    attributes = read_attributes(run_dir) if config.pretrained else SEPARATORS
    training, valid = (_read(config, name, attributes) for name in ("train", "valid"))
    training = without_overlap(training, valid, config.overlap, "validation")
    labels = find_labels(config.task, training)
    _check_labels(config, training)
    tokenizer: Tokenizer
    if isinstance(config.encoder, HashedNgrams):
        texts = (text for example in training for text in example.texts)
        tokenizer = count_ngrams(texts, config.encoder.most, config.encoder.buckets)
    else:
        tokenizer = Vocabulary.load(run_dir / VOCABULARY)
    model, by_search = make_model(config, tokenizer, labels), needs_search(config.task, valid)
    return Prepared(tokenizer, attributes, training, valid, labels, model, mesh, by_search)


def keep(config: FineTuning, prepared: Prepared) -> None:
    """Writes what the run needs to be used without the one that it begins with.

    Raises:
      UserError: the run began with other rows, or it cannot be written.
    """
    kept = {
        EXAMPLES: sorted({example.key for example in prepared.training}),
        VALID: {"fingerprint": fingerprint(prepared.valid)},
        LABELS: dataclasses.asdict(prepared.labels),
    }
    for name, value in kept.items():
        _keep_same(config.directory / name, value)
    if isinstance(prepared.tokenizer, Vocabulary):
        keep_vocabulary(config.directory, Path(config.pretrained) / VOCABULARY)
    else:
        prepared.tokenizer.save(config.directory / NGRAMS)
    keep_attributes(config.directory, prepared.attributes)


def _keep_same(path: Path, value: Any) -> None:
    """Writes a value unless the file holds it; raises UserError where it holds another."""
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != json.loads(json.dumps(value)):
        raise UserError(f"{path} is of other rows than those of --train and --valid now; choose another run directory")
    write_json(path, value)


def _read(config: FineTuning, name: str, attributes: AttributeFormat) -> list[Example]:
    columns = Columns(config.columns, config.defaults)
    # Beside the run directory, which is made once all is well; a file a process.
    own = f".{jax.process_index()}" if jax.process_index() else ""
    rejected = config.directory.with_name(f"{config.directory.name}.{name}.rejected{own}.jsonl")
    rejected.parent.mkdir(parents=True, exist_ok=True)
    return read_examples(getattr(config, name), config.task, columns, attributes, rejected)


def _check_labels(config: FineTuning, training: list[Example]) -> None:
    if not isinstance(config.task, TwoTowerTask):
        return
    assert isinstance(config.objective, PairObjective)
    fitting = int(fits(config.task, training).sum())
    if not fitting:
        raise UserError(f"none of the {len(training)} training pairs fits; one that does is needed")
    if fitting == len(training) and not config.objective.is_of_whole_batch:
        raise UserError(
            f"all {len(training)} training pairs fit; PairCrossEntropy needs some that do not, or another loss with it"
        )

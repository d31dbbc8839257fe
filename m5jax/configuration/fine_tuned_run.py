"""Runs that were fine-tuned: what one begins with, and what it keeps to be used by itself afterwards."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from m5jax.configuration.fine_tuned_result import Result, read_result
from m5jax.configuration.fine_tuning import FineTuning
from m5jax.configuration.gin_files import Binding, read_bindings, resolve
from m5jax.configuration.load import load
from m5jax.configuration.registry import CONFIGURABLES
from m5jax.configuration.run_directory import read_attributes
from m5jax.configuration.run_files import CONFIG, VOCABULARY
from m5jax.data.attributes import AttributeFormat
from m5jax.data.vocabulary import Vocabulary
from m5jax.errors import UserError
from m5jax.finetuning.ngrams import HashedNgrams, Ngrams
from m5jax.finetuning.rows import Tokenizer
from m5jax.finetuning.tasks import Labels, TextToTextTask
from m5jax.models import FunctionalModel, NgramEncoderConfig, Parameters
from m5jax.models.low_rank import ADAPTERS, merge_adapters
from m5jax.training.checkpoints import FOLDER, Checkpoints
from m5jax.training.fine_tuned_part import ENCODERS
from partitioning import MeshConfig, make_mesh, tree_shapes

NGRAMS, LABELS = "vocabulary/ngrams.json", "fine_tuned/labels.json"
_MODELS = ("EncoderConfig", "EncoderDecoderConfig")
_FIELDS = {"Run": "model", "FineTuning": "encoder"}


@dataclasses.dataclass(frozen=True)
class FineTuned:
    """A fine-tuned model, ready to be used."""

    config: FineTuning
    model: FunctionalModel
    parameters: Parameters
    mesh: Mesh
    tokenizer: Tokenizer
    attributes: AttributeFormat
    labels: Labels
    step: int
    result: Result | None


def is_fine_tuned(run_dir: Path) -> bool:
    """Whether a directory is that of a fine-tuning."""
    return any(binding.name == "FineTuning" for binding in run_bindings(run_dir))


def run_bindings(run_dir: Path) -> list[Binding]:
    """Returns what the config of a run directory binds; raises UserError where it is none."""
    path = run_dir / CONFIG
    if not path.is_file():
        raise UserError(f"{run_dir} is no run directory: it has no {CONFIG}")
    return read_bindings(path)


def model_bindings(run_dir: Path) -> list[str]:
    """Returns gin bindings of the model that a run trained, as the encoder of a fine-tuning.

    Raises:
      UserError: the directory is no run's, or its model is neither an encoder nor an encoder-decoder.
    """
    bindings = run_bindings(run_dir)
    own = next(
        (binding for binding in bindings if _FIELDS.get(binding.name) == binding.argument and binding.argument), None
    )
    name = "" if own is None else str(resolve(own, bindings)).strip("@()")
    if name not in _MODELS:
        raise UserError(f"the model of {run_dir} is {name or 'not named'}; allowed: runs of {' or '.join(_MODELS)}")
    return [*_copied(name, bindings), f"FineTuning.encoder=@{name}()"]


def _copied(name: str, bindings: Sequence[Binding]) -> Iterator[str]:
    for binding in bindings:
        if binding.name == name and binding.argument:
            value = resolve(binding, bindings)
            yield f"{name}.{binding.argument}={value!r}"
            inner = str(value).strip("@()").rpartition("/")[2]
            if inner in CONFIGURABLES and inner != name:
                yield from _copied(inner, bindings)


def pretrained_parameters(config: FineTuning, labels: Labels, abstract: Parameters) -> Parameters:
    """Returns the part of a model's parameters that the run it begins with has, with the shapes and shardings of
    `abstract`: the encoder, and of a fine-tuning of the same kind of task, with the same labels, all that fits.

    Raises:
      UserError: there is no intact checkpoint, or it is of another model.
    """
    run_dir = Path(config.pretrained)
    if isinstance(config.task, TextToTextTask):
        if not is_fine_tuned(run_dir):
            return _restore(run_dir, _without_adapters(abstract))
        return _merged(load_fine_tuned(run_dir))
    towers = [name for name in ENCODERS if name in abstract]
    heads: Parameters = {}
    if not is_fine_tuned(run_dir):
        known = {ENCODERS[0]: _restore(run_dir, _without_adapters(abstract[towers[0]]))}
    else:
        earlier = load_fine_tuned(run_dir)
        merged = _merged(earlier)
        known = {name: merged[name] for name in ENCODERS if name in merged}
        if type(earlier.config.task) is type(config.task) and earlier.labels == labels:
            heads = {name: value for name, value in earlier.parameters.items() if _is_same(value, abstract.get(name))}
    # A copy each: what is given is donated.
    encoders = {tower: jax.tree.map(lambda x: x.copy(), known.get(tower, known[ENCODERS[0]])) for tower in towers}
    return heads | encoders


def _merged(earlier: FineTuned) -> Parameters:
    adapters = earlier.config.part.adapters
    return merge_adapters(earlier.parameters, adapters) if adapters else earlier.parameters


def _is_same(tree: Any, abstract: Any) -> bool:
    """Whether a tree has the parameters, of the shapes, of another."""
    return jax.tree.map(jnp.shape, tree) == jax.tree.map(jnp.shape, abstract)


def _restore(run_dir: Path, abstract: Parameters) -> Parameters:
    with Checkpoints(run_dir / FOLDER) as checkpoints:
        return checkpoints.restore_parameters(abstract)[1]


def _without_adapters(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    return {name: _without_adapters(value) for name, value in tree.items() if name != ADAPTERS}


def make_model(config: FineTuning, tokenizer: Tokenizer, labels: Labels) -> FunctionalModel:
    """Returns the model of a fine-tuning, which knows what of it is trained.

    Raises:
      UserError: the vocabulary has more pieces than the model, or the task does not go with it.
    """
    encoder: Any = config.encoder
    if isinstance(encoder, HashedNgrams):
        assert isinstance(tokenizer, Ngrams)
        encoder = encoder.config(tokenizer, config.length)
    else:
        assert isinstance(tokenizer, Vocabulary)
        if tokenizer.text_size > encoder.vocab_size:
            raise UserError(
                f"the vocabulary of {config.pretrained} has {tokenizer.text_size} pieces, its model rows for "
                f"{encoder.vocab_size}"
            )
        rate = encoder.dropout_rate if config.dropout_rate is None else config.dropout_rate
        encoder = config.part.prepare(dataclasses.replace(encoder, dropout_rate=rate))
    if isinstance(config.task, TextToTextTask):
        return config.part.trained(FunctionalModel.from_config(encoder))
    model = FunctionalModel.from_config(config.task.model(encoder, labels))
    return model if isinstance(encoder, NgramEncoderConfig) else config.part.trained(model)


def load_fine_tuned(run_dir: Path, step: int | None = None) -> FineTuned:
    """Returns the model of a fine-tuning, of its best checkpoint (of one that has not ended, the newest) or of `step`,
    on a mesh of the devices that are here. The result is the best checkpoint's alone.

    Raises:
      UserError: the directory is of no fine-tuning, or there is no such checkpoint.
    """
    if not is_fine_tuned(run_dir):
        raise UserError(f"{run_dir} is of no fine-tuning; m5jax finetune makes one")
    config: FineTuning = load([str(run_dir / CONFIG)], [], "FineTuning")
    config = dataclasses.replace(config, run_dir=str(run_dir))
    tokenizer, labels, mesh = read_tokenizer(run_dir, config), read_labels(run_dir), make_mesh(MeshConfig())
    model = make_model(config, tokenizer, labels)
    result = read_result(run_dir)
    if result is not None and step not in (None, result.step):
        result = None  # its threshold is of other scores
    wanted = step if result is None else result.step
    with Checkpoints(run_dir / FOLDER) as checkpoints:
        abstract = tree_shapes(mesh, model.abstract_parameters, model.logical_axes)
        found, parameters = checkpoints.restore_parameters(abstract, wanted)
    return FineTuned(config, model, parameters, mesh, tokenizer, read_attributes(run_dir), labels, found, result)


def read_tokenizer(run_dir: Path, config: FineTuning) -> Tokenizer:
    """Returns what turns texts into ids; raises UserError where it cannot be read."""
    if isinstance(config.encoder, HashedNgrams):
        return Ngrams.load(run_dir / NGRAMS)
    return Vocabulary.load(run_dir / VOCABULARY)


def read_labels(run_dir: Path) -> Labels:
    """Returns the labels of a fine-tuning; raises UserError where they cannot be read."""
    try:
        values = json.loads((run_dir / LABELS).read_text(encoding="utf-8"))
        return Labels(tuple(map(str, values["classes"])), tuple(map(str, values["tags"])))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{run_dir / LABELS} holds no labels ({error}); a fine-tuning writes them") from error

"""The parameters that a run begins with: of another run's checkpoint, on its vocabulary or an extended one."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from m5jax.configuration.live_data import initial_directory
from m5jax.configuration.run import Run
from m5jax.configuration.run_directory import kept_labels
from m5jax.configuration.run_files import VOCABULARY
from m5jax.data.vocabulary import Vocabulary
from m5jax.data.vocabulary_rows import check_extension, row_sources
from m5jax.errors import UserError
from m5jax.models import FunctionalModel, Parameters
from m5jax.training.checkpoints import FOLDER, Checkpoints, shapes_by_name
from m5jax.training.vocabulary_rows import rearrange_rows
from partitioning import tree_shapes

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class InitialRun:
    """A checkpoint that a new run begins with; it is read when the run calls this.

    Attributes:
      directory: of the run that it is of.
      step: of the checkpoint.
      model: the new run's.
      vocab_size: rows that parameters by vocabulary have there.
      sources: see `m5jax.data.vocabulary_rows.row_sources`.
      seed: of rows that do not follow from those there.
    """

    directory: Path
    step: int
    model: FunctionalModel
    vocab_size: int
    sources: Mapping[int, Sequence[int]]
    seed: int

    def __str__(self) -> str:
        return f"{self.directory}, step {self.step}"

    def __call__(self, abstract: Parameters) -> Parameters:
        """Returns the parameters with the shardings of `abstract`; raises UserError where they cannot be read."""
        logger.info("beginning with the parameters of %s", self)
        mesh = jax.tree.leaves(abstract)[0].sharding.mesh
        there = tree_shapes(mesh, _with_vocabulary(self.model, self.vocab_size), self.model.logical_axes)
        with Checkpoints(self.directory / FOLDER) as checkpoints:
            _, parameters = checkpoints.restore_parameters(there, self.step)
        return self._rearranged(parameters, abstract)

    def _rearranged(self, parameters: Parameters, abstract: Parameters) -> Parameters:
        """Returns the parameters with the rows that the new run's ids begin with."""
        if not self.sources and self.vocab_size == self.model.config.vocab_size:
            return parameters
        leaves, structure = jax.tree.flatten(parameters)
        expected = jax.tree.leaves(abstract)
        axes = jax.tree.leaves(self.model.logical_axes, is_leaf=lambda node: isinstance(node, tuple))
        by_vocabulary = [index for index, names in enumerate(axes) if "vocab" in names]

        def rearrange(old: list[jax.Array], key: Any) -> list[jax.Array]:
            drawn = jax.tree.leaves(self.model.init(key))
            pairs = zip(old, by_vocabulary, strict=True)
            return [rearrange_rows(rows, drawn[index], self.sources) for rows, index in pairs]

        rearranged = jax.jit(rearrange, out_shardings=[expected[index].sharding for index in by_vocabulary])
        new = rearranged([leaves[index] for index in by_vocabulary], jax.random.key(self.seed))
        for index, rows in zip(by_vocabulary, new, strict=True):
            leaves[index] = rows
        return jax.tree.unflatten(structure, leaves)


def find_initial_run(run: Run, model: FunctionalModel, vocabulary: Vocabulary) -> InitialRun | None:
    """Returns the checkpoint that a run begins with; None where it has one of its own, or is to begin anew.

    Raises:
      UserError: there is no such run or checkpoint, it is of another model, or of a vocabulary that the run's does not
        extend.
    """
    if not run.initial_run or _has_checkpoint(run.directory):
        return None
    directory = initial_directory(run)
    old = Vocabulary.load(directory / VOCABULARY, kept_labels(directory) or ())
    check_extension(old, vocabulary, str(directory))
    with Checkpoints(directory / FOLDER) as checkpoints:
        step, shapes = checkpoints.find_parameters(run.initial_step)
    vocab_size = _check_shapes(directory, shapes, model)
    return InitialRun(directory, step, model, vocab_size, row_sources(old, vocabulary), run.trainer.seed)


def _has_checkpoint(directory: Path) -> bool:
    # Those that are being written, or are damaged, have a suffix.
    return any(path.name.isdigit() for path in (directory / FOLDER).glob("*"))


def _check_shapes(directory: Path, stored: Mapping[str, tuple[int, ...]], model: FunctionalModel) -> int:
    """Returns the rows of the vocabulary there; raises UserError where parameters differ in more than fewer rows."""
    config, expected = model.config, shapes_by_name(model.abstract_parameters)
    vocab_size = stored.get("embedding", (config.vocab_size,))[0]
    wanted = shapes_by_name(_with_vocabulary(model, vocab_size))
    for name in sorted(stored.keys() | wanted.keys()):
        if stored.get(name) != wanted.get(name):
            raise UserError(
                f"INITIAL_RUN: the model of {directory} is another one: {name} is {stored.get(name, 'missing')} there, "
                f"{expected.get(name, 'missing')} in the configured model"
            )
    if vocab_size > config.vocab_size:
        raise UserError(
            f"{type(config).__name__}.vocab_size = {config.vocab_size}; INITIAL_RUN: the model of {directory} has "
            f"{vocab_size}, and at least as many are needed"
        )
    return vocab_size


def _with_vocabulary(model: FunctionalModel, vocab_size: int) -> Parameters:
    """Returns the abstract parameters of a model with so many rows of the vocabulary."""

    def resized(leaf: jax.ShapeDtypeStruct, axes: tuple[str, ...]) -> jax.ShapeDtypeStruct:
        shape = [vocab_size if axis == "vocab" else size for size, axis in zip(leaf.shape, axes, strict=True)]
        return jax.ShapeDtypeStruct(shape, leaf.dtype)

    return jax.tree.map(resized, model.abstract_parameters, model.logical_axes)

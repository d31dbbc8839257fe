"""How the tasks of a mixture share the tokens of a row."""

import dataclasses
from collections.abc import Sequence

import seqio

from m5jax.data.feature_converter import LanguageModelFeatureConverter, SequenceToSequenceFeatureConverter
from m5jax.data.labels import labelling
from m5jax.data.packing import prediction_budget
from m5jax.data.preprocessors import AlignedTargets
from m5jax.errors import UserError

_SHORTEST_ROW = 8


@dataclasses.dataclass(frozen=True)
class RowShape:
    """The lengths that tasks share a row with.

    Attributes:
        tasks: those of the mixture.
        length: tokens in a row.
        targets_length: tokens of targets that are written.
        separate_targets: these have a row of their own, as an encoder-decoder reads them, and are no part of `length`.
    """

    tasks: Sequence[seqio.Task]
    length: int
    targets_length: int
    separate_targets: bool = False

    def __post_init__(self) -> None:
        if self.length < _SHORTEST_ROW:
            raise UserError(f"the row length is {self.length}, allowed: {_SHORTEST_ROW} or more")
        if self.separate_targets:
            self._check_separate()
            return
        writing = [task.name for task in self.tasks if _aligned(task) is None]
        least = _SHORTEST_ROW // 2 if writing else 0
        most = self.length - least
        if writing and not least <= self.targets_length <= most:
            raise UserError(
                f"task {writing[0]} has targets to write: the targets' length is {self.targets_length}, "
                f"allowed: {least} to {most}, of the row length {self.length}"
            )
        room = self.feature_lengths["inputs"]
        for task in self.tasks:
            step = _aligned(task)
            predicted = 0 if step is None else prediction_budget(room, step.predicted_share)
            if writing and predicted > self.targets_length:
                raise UserError(
                    f"task {task.name} predicts up to {predicted} of {room} tokens; "
                    f"the targets' length is {self.targets_length} and must be as much"
                )

    def _check_separate(self) -> None:
        check_written(self.tasks, "an encoder-decoder")
        if self.targets_length < _SHORTEST_ROW // 2:
            raise UserError(
                f"task {self.tasks[0].name} has targets to write: the targets' length is {self.targets_length}, "
                f"allowed: {_SHORTEST_ROW // 2} or more"
            )

    @property
    def feature_lengths(self) -> dict[str, int]:
        if self.separate_targets:
            return {"inputs": self.length, "targets": self.targets_length}
        if all(map(targets_are_aligned, self.tasks)):
            return {"inputs": self.length, "targets": self.length}
        return {"inputs": self.length - self.targets_length, "targets": self.targets_length}

    def converter(self, pack: bool) -> seqio.FeatureConverter:
        if self.separate_targets:
            return SequenceToSequenceFeatureConverter([task.name for task in self.tasks], pack)
        shares = [step.predicted_share for task in self.tasks if (step := _aligned(task)) is not None]
        only_aligned = len(shares) == len(self.tasks)
        budget = prediction_budget(self.length, max(shares)) if only_aligned else self.targets_length
        labelled = [task.name for task in self.tasks if labelling(task) is not None]
        aligned = {task.name: targets_are_aligned(task) for task in self.tasks}
        return LanguageModelFeatureConverter(aligned, budget, pack, labelled)


def check_written(tasks: Sequence[seqio.Task], model: str) -> None:
    """Raises UserError where the targets of a task are not to be written, which is all that `model` does."""
    for task in tasks:
        if targets_are_aligned(task):
            raise UserError(
                f"task {task.name} predicts at its inputs, {model} writes; allowed: tasks with targets to write, such "
                "as span_corruption, causal_lm or a _text form"
            )


def targets_are_aligned(task: seqio.Task) -> bool:
    """Whether a task's targets stand at the positions of its inputs, as in masked LM; else they are written after."""
    return _aligned(task) is not None


def _aligned(task: seqio.Task) -> AlignedTargets | None:
    """Returns the preprocessor that aligns a task's targets with its inputs; None where they follow them."""
    return next((step for step in task.preprocessors if isinstance(step, AlignedTargets)), None)

"""SeqIO feature converters from examples with inputs and targets to the fixed-shape rows that an objective reads."""

import abc
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import seqio
import tensorflow as tf

from m5jax.data.packing import DEFAULT_WINDOW, pack_pairs, pack_window

_SPEC = seqio.FeatureConverter.FeatureSpec
_BY_TOKEN = ("inputs", "segment_ids", "positions")
_BY_PREDICTION = ("predicted_positions", "targets", "task_ids")
_BY_TARGET = ("targets", "target_segment_ids", "target_positions", "task_ids")


class _WindowConverter(seqio.FeatureConverter):
    """Packs windows of consecutive examples with `_make_rows`.

    Args:
        features: of a row.
        pack: whether a row holds several examples.
        window: examples packed together.
    """

    TASK_FEATURES = {
        "inputs": _SPEC(dtype=tf.int32),
        "targets": _SPEC(dtype=tf.int32),
        "task": _SPEC(dtype=tf.int32, rank=0),
    }
    MODEL_FEATURES: Mapping[str, seqio.FeatureConverter.FeatureSpec] = {}  # depend on the tasks
    # Rows that are not packed have segment ids and positions too, so that the model needs to know one form only.
    PACKING_FEATURE_DTYPES: Mapping[str, tf.DType] = {}

    def __init__(self, features: Sequence[str], pack: bool, window: int) -> None:
        # Lengths are checked by `_make_rows`, once a window.
        super().__init__(pack=pack, apply_length_check=False)
        self._window = window
        self.MODEL_FEATURES = {
            **{name: _SPEC(dtype=tf.int32) for name in features},
            "loss_weights": _SPEC(dtype=tf.float32),
        }

    @abc.abstractmethod
    def _make_rows(self, *window: np.ndarray, lengths: Mapping[str, int]) -> dict[str, np.ndarray]:
        """Returns the rows of a window: of inputs and targets values and row splits, and the examples' tasks."""

    def _convert_features(self, ds: tf.data.Dataset, task_feature_lengths: Mapping[str, int]) -> tf.data.Dataset:
        lengths = self.get_model_feature_lengths(task_feature_lengths)

        def pack(*window: np.ndarray) -> list[np.ndarray]:
            rows = self._make_rows(*window, lengths=lengths)
            return [rows[name] for name in lengths]

        def convert(window: dict[str, tf.RaggedTensor]) -> dict[str, tf.Tensor]:
            inputs, targets = window["inputs"], window["targets"]
            arguments = (inputs.values, inputs.row_splits, targets.values, targets.row_splits, window["task"])
            types = [self.MODEL_FEATURES[name].dtype for name in lengths]
            # Not stateful, so that the position of the iterator can be saved.
            rows = tf.numpy_function(pack, arguments, types, stateful=False)
            return {
                name: tf.ensure_shape(value, [None, length])
                for (name, length), value in zip(lengths.items(), rows, strict=True)
            }

        ds = ds.map(lambda example: {name: example[name] for name in self.TASK_FEATURES})
        windows = ds.ragged_batch(self._window)
        return windows.map(convert, num_parallel_calls=tf.data.AUTOTUNE).unbatch()


class SequenceToSequenceFeatureConverter(_WindowConverter):
    """Packs inputs and targets into rows of their own; features and shapes are those of `pack_pairs`, with `task_ids`,
    int32 [targets length].

    No example is ever dropped or cut: one that is too long stops the pipeline.

    Args:
        tasks: names, in the order of their numbers.
        pack: whether a row holds several examples.
        window: examples packed together.
    """

    def __init__(self, tasks: Sequence[str], pack: bool = True, window: int = DEFAULT_WINDOW) -> None:
        super().__init__((*_BY_TOKEN, *_BY_TARGET), pack, window)
        self._names = tuple(tasks)

    def get_model_feature_lengths(self, task_feature_lengths: Mapping[str, int]) -> dict[str, int]:
        """Returns the length of each feature of a row."""
        return {
            **dict.fromkeys(_BY_TOKEN, task_feature_lengths["inputs"]),
            **dict.fromkeys((*_BY_TARGET, "loss_weights"), task_feature_lengths["targets"]),
        }

    def _make_rows(self, *window: np.ndarray, lengths: Mapping[str, int]) -> dict[str, np.ndarray]:
        inputs, input_splits, targets, target_splits, tasks = window
        room = (lengths["inputs"], lengths["targets"])
        for side, splits, most in zip(("inputs", "targets"), (input_splits, target_splits), room, strict=True):
            sizes = np.diff(splits)
            for example in np.flatnonzero((sizes > most) | (sizes == 0))[:1]:
                raise ValueError(
                    f"an example of task {self._names[tasks[example]]} has {side} of {sizes[example]} tokens; "
                    f"allowed: 1 to {most}"
                )
        by_target = {"task_ids": np.repeat(tasks, np.diff(target_splits))}
        return pack_pairs(
            inputs,
            input_splits,
            targets,
            target_splits,
            by_target,
            length=room[0],
            targets_length=room[1],
            pack=self.pack,
        )


class LanguageModelFeatureConverter(_WindowConverter):
    """Packs examples into rows; features and shapes are those of `pack_window`, with `task_ids`, int32 [budget].

    The targets of a task either stand where the tokens are that they replace (masked LM), or are to be written after
    the inputs: then inputs and targets follow each other in one sequence, each target is predicted at the token before
    it, and `bidirectional`, int32 [length], is 1 for inputs, which every token of the example may attend to, and 0 for
    targets, which only later ones may (prefix LM, arXiv 1910.10683, section 3.2.3). Rows without such tasks have no
    `bidirectional`: everything is.

    With `pack`, `window` consecutive examples at a time are packed together; without, each has a row of its own.
    No example is ever dropped or cut: one that is too long stops the pipeline.

    Args:
        targets_are_aligned: for each task, by name, which of the two it is; its place is the number in its examples'
            `task`.
        budget: predicted tokens in a row.
        pack: see above.
        labelled: tasks whose targets are labels. With them, and with targets that are to be written, rows have room for
            all predictions; of a masked example that has more than the budget, those beyond it are undone.
        window: examples packed together.
    """

    def __init__(
        self,
        targets_are_aligned: Mapping[str, bool],
        budget: int,
        pack: bool = True,
        labelled: Collection[str] = (),
        window: int = DEFAULT_WINDOW,
    ) -> None:
        self._names, self._aligned = tuple(targets_are_aligned), tuple(targets_are_aligned.values())
        self._by_token = _BY_TOKEN if all(self._aligned) else (*_BY_TOKEN, "bidirectional")
        super().__init__((*self._by_token, *_BY_PREDICTION), pack, window)
        self._budget = budget
        self._reserve = bool(labelled) or not all(self._aligned)
        self._masked = tuple(aligned and name not in labelled for name, aligned in targets_are_aligned.items())

    def get_model_feature_lengths(self, task_feature_lengths: Mapping[str, int]) -> dict[str, int]:
        """Returns the length of each feature of a row; `inputs` counts all its tokens, `targets` those of a row too."""
        length = task_feature_lengths["inputs"]
        if not all(self._aligned):
            length += task_feature_lengths["targets"]
        return {
            **dict.fromkeys(self._by_token, length),
            **dict.fromkeys((*_BY_PREDICTION, "loss_weights"), self._budget),
        }

    def _make_rows(self, *window: np.ndarray, lengths: Mapping[str, int]) -> dict[str, np.ndarray]:
        inputs, input_splits, targets, target_splits, tasks = window
        length = lengths["inputs"]
        by_token = {}
        aligned = np.array(self._aligned)[tasks]
        self._check_lengths(np.diff(input_splits), np.diff(target_splits), aligned, tasks, length)
        if self._reserve:
            inputs, targets = self._within_budget(inputs, input_splits, targets, target_splits, tasks)
        if not all(self._aligned):
            inputs, targets, by_token["bidirectional"], input_splits = one_sequence(
                inputs, input_splits, targets, target_splits, aligned
            )
        by_token["task_ids"] = np.repeat(tasks, np.diff(input_splits))
        rows = pack_window(
            inputs,
            targets,
            input_splits,
            length=length,
            budget=self._budget,
            pack=self.pack,
            by_token=by_token,
            reserve_predictions=self._reserve,
        )
        task_ids = np.take_along_axis(rows["task_ids"], rows["predicted_positions"], axis=1)
        return rows | {"task_ids": np.where(rows["loss_weights"] > 0, task_ids, 0)}

    def _within_budget(
        self,
        inputs: np.ndarray,
        input_splits: np.ndarray,
        targets: np.ndarray,
        target_splits: np.ndarray,
        tasks: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Undoes the masking beyond the budget, as packing does where it reserves no room."""
        inputs, targets = inputs.copy(), targets.copy()
        for example in np.flatnonzero(np.array(self._masked)[tasks]):
            own = slice(target_splits[example], target_splits[example + 1])
            for place in np.flatnonzero(targets[own])[self._budget :]:
                inputs[input_splits[example] + place] = targets[own.start + place]
                targets[own.start + place] = 0
        return inputs, targets

    def _check_lengths(
        self, inputs: np.ndarray, targets: np.ndarray, aligned: np.ndarray, tasks: np.ndarray, length: int
    ) -> None:
        """Raises ValueError, naming the task, for an example that fits no row or whose features do not fit together."""
        for example in np.flatnonzero(np.where(aligned, inputs, inputs + targets - 1) > length)[:1]:
            written = "" if aligned[example] else f" and targets of {targets[example]}"
            raise ValueError(
                f"an example of task {self._names[tasks[example]]} has inputs of {inputs[example]} tokens{written}, "
                f"more than the row length {length}"
            )
        for example in np.flatnonzero(aligned & (inputs != targets))[:1]:
            raise ValueError(
                f"an example of task {self._names[tasks[example]]} has inputs of {inputs[example]} tokens and targets "
                f"of {targets[example]}; aligned targets are as many as the inputs"
            )


def one_sequence(
    inputs: np.ndarray, input_splits: np.ndarray, targets: np.ndarray, target_splits: np.ndarray, aligned: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Joins the inputs and targets of each example of a window.

    Args:
        inputs: int32 [tokens], and `input_splits` as in a ragged tensor.
        targets: int32 [tokens], and `target_splits`.
        aligned: bool [examples]: the targets are of the inputs' positions already.

    Returns:
        Flat int32 arrays of all examples: the tokens to read, the id to predict at each (0: none) and whether it is
        bidirectional; and the new row splits. The last target is not read, since nothing follows it.
    """
    tokens, predicted, bidirectional = [], [], []
    input_parts = np.split(inputs, input_splits[1:-1])
    target_parts = np.split(targets, target_splits[1:-1])
    for own_inputs, own_targets, is_aligned in zip(input_parts, target_parts, aligned, strict=True):
        if not (len(own_inputs) and len(own_targets)):
            raise ValueError("an example has no inputs or no targets")
        if is_aligned:
            tokens.append(own_inputs)
            predicted.append(own_targets)
            bidirectional.append(np.ones_like(own_inputs))
        else:
            tokens += [own_inputs, own_targets[:-1]]
            predicted += [np.zeros_like(own_inputs[:-1]), own_targets]
            bidirectional += [np.ones_like(own_inputs), np.zeros_like(own_targets[:-1])]
    lengths = np.diff(input_splits) + np.where(aligned, 0, np.diff(target_splits) - 1)
    return (
        np.concatenate(tokens),
        np.concatenate(predicted),
        np.concatenate(bidirectional),
        np.concatenate([[0], np.cumsum(lengths)]),
    )

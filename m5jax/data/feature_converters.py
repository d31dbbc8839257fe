"""SeqIO feature converter from masked examples to the fixed-shape rows that the masked-LM objective reads."""

from collections.abc import Mapping

import numpy as np
import seqio
import tensorflow as tf

from m5jax.data.packing import DEFAULT_WINDOW, masked_budget, pack_window

_SPEC = seqio.FeatureConverter.FeatureSpec
_INTEGER_FEATURES = ("inputs", "segment_ids", "positions", "masked_positions", "targets")
_FEATURES = (*_INTEGER_FEATURES, "loss_weights")


class MaskedLanguageModelFeatureConverter(seqio.FeatureConverter):
    """Packs the examples of `m5jax.data.masking` into rows; features and shapes are those of `pack_window`.

    With `pack`, `window` consecutive examples at a time are packed together; without, each has a row of its own.
    No example is ever dropped or cut: one longer than `task_feature_lengths["inputs"]` stops the pipeline.
    """

    TASK_FEATURES = {"inputs": _SPEC(dtype=tf.int32), "targets": _SPEC(dtype=tf.int32)}
    MODEL_FEATURES = {
        **{name: _SPEC(dtype=tf.int32) for name in _INTEGER_FEATURES},
        "loss_weights": _SPEC(dtype=tf.float32),
    }
    # Rows that are not packed have segment ids and positions too, so that the model needs to know one form only.
    PACKING_FEATURE_DTYPES: Mapping[str, tf.DType] = {}

    def __init__(self, masking_rate: float, pack: bool = True, window: int = DEFAULT_WINDOW) -> None:
        # pack_window checks lengths itself, once a window.
        super().__init__(pack=pack, apply_length_check=False)
        self._masking_rate, self._window = masking_rate, window

    def get_model_feature_lengths(self, task_feature_lengths: Mapping[str, int]) -> dict[str, int]:
        length = task_feature_lengths["inputs"]
        budget = masked_budget(length, self._masking_rate)
        by_row = dict.fromkeys(("inputs", "segment_ids", "positions"), length)
        return {**by_row, **dict.fromkeys(("masked_positions", "targets", "loss_weights"), budget)}

    def _convert_features(self, ds: tf.data.Dataset, task_feature_lengths: Mapping[str, int]) -> tf.data.Dataset:
        lengths = self.get_model_feature_lengths(task_feature_lengths)

        def pack(inputs: np.ndarray, targets: np.ndarray, row_splits: np.ndarray) -> list[np.ndarray]:
            length, budget = lengths["inputs"], lengths["targets"]
            rows = pack_window(inputs, targets, row_splits, length=length, budget=budget, pack=self.pack)
            return [rows[name] for name in _FEATURES]

        def convert(window: dict[str, tf.RaggedTensor]) -> dict[str, tf.Tensor]:
            arguments = (window["inputs"].values, window["targets"].values, window["inputs"].row_splits)
            types = [self.MODEL_FEATURES[name].dtype for name in _FEATURES]
            # Not stateful, so that the position of the iterator can be saved.
            rows = tf.numpy_function(pack, arguments, types, stateful=False)
            shaped = {
                name: tf.ensure_shape(value, [None, lengths[name]]) for name, value in zip(_FEATURES, rows, strict=True)
            }
            return shaped

        ds = ds.map(lambda example: {name: example[name] for name in self.TASK_FEATURES})
        windows = ds.ragged_batch(self._window)
        return windows.map(convert, num_parallel_calls=tf.data.AUTOTUNE).unbatch()

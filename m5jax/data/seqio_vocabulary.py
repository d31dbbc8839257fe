"""The SeqIO vocabulary of every task. It stands for the run's own, which is known only after registration."""

import functools
from collections.abc import Sequence
from typing import Any

import seqio
import tensorflow as tf
import tensorflow_text

from m5jax.data.vocabulary import EOS_ID, UNK_ID, current_vocabulary


@functools.lru_cache(maxsize=4)
def _graph_tokenizer(model: bytes) -> tensorflow_text.SentencepieceTokenizer:
    # Outside of any graph being built, so that the datasets of all languages share one copy of the model.
    with tf.init_scope():
        return tensorflow_text.SentencepieceTokenizer(model=model, out_type=tf.int32)


class RunVocabulary(seqio.Vocabulary):
    """Delegates to `current_vocabulary()` each time it is used; raises its UserError where none is set."""

    @property
    def eos_id(self) -> int:
        return EOS_ID

    @property
    def unk_id(self) -> int:
        return UNK_ID

    @property
    def _base_vocab_size(self) -> int:
        return current_vocabulary().size

    def _encode(self, text: str) -> Sequence[int]:
        return current_vocabulary().encode([text])[0]

    def _decode(self, ids: Sequence[int]) -> str:
        return current_vocabulary().decode(ids)

    def _encode_tf(self, text: tf.Tensor) -> tf.Tensor:
        return _graph_tokenizer(current_vocabulary().model).tokenize(text)

    def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
        return _graph_tokenizer(current_vocabulary().model).detokenize(ids)

    def __eq__(self, other: Any) -> bool:
        # All stand for the same vocabulary; SeqIO compares those of a mixture's tasks.
        return isinstance(other, RunVocabulary)

    def __hash__(self) -> int:
        return hash(RunVocabulary)

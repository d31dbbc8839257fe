"""A vocabulary extended by the pieces that new texts need most; old pieces keep their ids and their scores.

Candidates are the pieces of a vocabulary trained on the new texts. They are pruned as a unigram vocabulary is (arXiv
1804.10959, section 3.2), beside the old pieces, which stay: in turn, probabilities are estimated from how often the
best segmentation of the texts uses each piece, and those go without which the texts lose least likelihood.

A score is a log-probability. That of a new piece is its log-frequency in the new texts, put on the scale of the old
scores. These were estimated on other texts, and so give a token of the new ones less than its log-frequency there; as
much as that is on average is taken off the new pieces too. So of two segmentations into equally many tokens neither is
preferred for having newer pieces, and old texts change little but where a new piece replaces several old ones.
"""

import collections
import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import sentencepiece

from m5jax.data.vocabulary import FIRST_LEARNED_ID, FIRST_TEXT_ID, Vocabulary, train_model
from m5jax.errors import UserError

# Of the candidates, in each round (arXiv 1804.10959 prunes to 80%, SentencePiece to 75%).
_KEPT = 0.75
# Rounds of estimation after the last pruning.
_LAST_ROUNDS = 2
_THREADS = 2
_SPACE = "\u2581"  # as SentencePiece writes it


def extend_vocabulary(old: Vocabulary, texts: Sequence[str], size: int) -> Vocabulary:
    """Returns a vocabulary of `size` ids: those of `old`, then new pieces by descending score.

    Args:
        old: the vocabulary, whose labels are none of the new one's.
        texts: serialized texts to learn from.
        size: number of ids, those of `old` included.

    Raises:
        UserError: `size` is no more than `old` has, or than the texts have a use for.
    """
    added = size - old.text_size
    if added < 1:
        raise UserError(f"size {size} extends nothing: the vocabulary has {old.text_size} pieces; allowed: more")
    candidates = _candidates(old, texts, size + added)  # at least twice as many as are needed, where texts allow it
    scores = _pruned(old, candidates, count_words(texts), added)
    return Vocabulary(_with_pieces(old, dict(sorted(scores.items(), key=lambda item: (-item[1], item[0])))))


def fertility(vocabulary: Vocabulary, texts: Iterable[str]) -> float:
    """Returns the tokens a word, words being what white space separates."""
    words = count_words(texts)
    return float(_usage(_processor(vocabulary.model), words).sum() / max(sum(words.values()), 1))


def count_words(texts: Iterable[str]) -> collections.Counter[str]:
    """Returns how often each word occurs; since no piece crosses white space, words are split one by one."""
    return collections.Counter(itertools.chain.from_iterable(text.split() for text in texts))


def split_pieces(vocabulary: Vocabulary, pieces: Sequence[str]) -> list[list[int]]:
    """Returns the ids that a vocabulary splits each piece of another one into, where it stands in a text."""
    return _processor(vocabulary.model, inside=True).encode([_text(piece) for piece in pieces], out_type=int)


def _candidates(old: Vocabulary, texts: Sequence[str], size: int) -> dict[str, float]:
    """Returns pieces that `old` lacks, with their scores: those of a vocabulary of up to `size` ids for the texts."""
    known = set(old.pieces(range(old.text_size)))
    trained = _read(train_model(texts, size, exact=False)).pieces[FIRST_LEARNED_ID:]
    return {piece.piece: piece.score for piece in trained if piece.piece not in known}


def _pruned(old: Vocabulary, scores: dict[str, float], words: Mapping[str, int], added: int) -> dict[str, float]:
    """Returns the `added` most useful pieces with their scores."""
    useful = list(scores)
    while len(useful) > added:
        union = _Union(old, scores).estimated(words)
        gains = union.gains()
        useful = sorted((piece for piece in gains if gains[piece] > 0), key=lambda piece: (-gains[piece], piece))
        useful = useful[: max(added, int(_KEPT * len(scores)))]
        scores = {piece: union.scores[piece] for piece in useful}
    if len(useful) < added:
        raise UserError(
            f"these texts give {len(useful)} pieces that the vocabulary lacks; "
            f"size {old.text_size + added} is too large, the largest possible: {old.text_size + len(useful)}"
        )
    for _ in range(_LAST_ROUNDS):
        scores = _Union(old, scores).estimated(words).scores
    return scores


@dataclasses.dataclass(frozen=True)
class _Union:
    """The old pieces and new ones with their scores, and how often texts use each new piece, where that is known."""

    old: Vocabulary
    scores: dict[str, float]
    counts: dict[str, float] = dataclasses.field(default_factory=dict)

    def estimated(self, words: Mapping[str, int]) -> "_Union":
        """Returns it with the scores that follow from the best segmentation of words by the present ones."""
        usage = _usage(_processor(_with_pieces(self.old, self.scores)), words)
        logs = np.log(np.maximum(usage, 0.5) / max(usage.sum(), 1.0))
        learned = slice(FIRST_LEARNED_ID, self.old.text_size)
        difference = _old_scores(self.old)[learned] - logs[learned]
        weight = usage[learned].sum()
        scale = float(usage[learned] @ difference / weight) if weight else 0.0
        new = slice(self.old.text_size, None)
        scores = dict(zip(self.scores, (logs[new] + scale).tolist(), strict=True))
        return _Union(self.old, scores, dict(zip(self.scores, usage[new].tolist(), strict=True)))

    def gains(self) -> dict[str, float]:
        """Returns how much log-likelihood the texts lose without each new piece: what its next best split costs."""
        scores = np.concatenate([_old_scores(self.old), list(self.scores.values())])
        # A byte costs as much as the rarest piece; SentencePiece gives it none.
        floor = scores[FIRST_LEARNED_ID:].min()
        scores[FIRST_TEXT_ID:FIRST_LEARNED_ID] = floor
        processor = _processor(_with_pieces(self.old, self.scores), inside=True)
        splits = processor.nbest_encode([_text(piece) for piece in self.scores], nbest_size=2, out_type=int)
        gains = {}
        for number, (piece, own) in enumerate(zip(self.scores, splits, strict=True), self.old.text_size):
            other = next((scores[ids].sum() for ids in own if ids != [number]), floor * len(piece.encode()))
            gains[piece] = self.counts[piece] * (scores[number] - other)
        return gains


def _usage(processor: Any, words: Mapping[str, int]) -> np.ndarray:
    """Returns float64 [ids]: how often the best segmentation of words, which occur so often, uses each piece."""
    encoded = processor.encode(list(words), out_type=int, num_threads=_THREADS)
    ids = np.fromiter(itertools.chain.from_iterable(encoded), np.int64)
    often = np.repeat(np.fromiter(words.values(), np.float64), [len(own) for own in encoded])
    return np.bincount(ids, often, minlength=processor.get_piece_size())


def _old_scores(old: Vocabulary) -> np.ndarray:
    return np.array([piece.score for piece in _read(old.model).pieces])


def _text(piece: str) -> str:
    return piece.replace(_SPACE, " ")


def _read(model: bytes) -> Any:
    from sentencepiece import sentencepiece_model_pb2

    messages: Any = sentencepiece_model_pb2  # made at run time
    return messages.ModelProto.FromString(model)


def _with_pieces(old: Vocabulary, scores: Mapping[str, float]) -> bytes:
    """Returns the model of a vocabulary with pieces appended."""
    model = _read(old.model)
    for piece, score in scores.items():
        assert math.isfinite(score)
        model.pieces.add(piece=piece, score=score)
    model.trainer_spec.vocab_size = len(model.pieces)
    return model.SerializeToString(deterministic=True)


def _processor(model: bytes, inside: bool = False) -> Any:
    """Returns what splits texts by a model; `inside` of a text, spaces are kept and none is added in front."""
    if inside:
        edited = _read(model)
        edited.normalizer_spec.add_dummy_prefix = False
        edited.normalizer_spec.remove_extra_whitespaces = False
        model = edited.SerializeToString()
    processor = sentencepiece.SentencePieceProcessor()
    processor.load_from_serialized_proto(model)
    return processor

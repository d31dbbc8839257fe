"""Whole words hidden: the same of a text whatever the vocabulary."""

import numpy as np

from m5jax.data.mask_tokens import Tokens, words_of
from m5jax.data.masking_policy import BERT_MASKING
from m5jax.data.spans import choose_words
from m5jax.data.vocabulary import EOS_ID, FIRST_TEXT_ID, Vocabulary
from m5jax.evaluation.cloze import Blank, Cloze, hide, text_key

SHARE = BERT_MASKING.rate


class WordHiding:
    """Hides a share of each text's words, as whole-word masking does, but counted in words, and all by <mask>.

    Which ones follows from the text alone. A word is what stands between spaces; where a text was cut to the row, what
    is left of a word is never hidden.

    Args:
        vocabulary: of the texts.
        share: of the words of a text, in expectation.
    """

    def __init__(self, vocabulary: Vocabulary, share: float = SHARE) -> None:
        self._vocabulary, self._share = vocabulary, share
        self._starts = vocabulary.word_starts()
        # A text that begins with a field token has a space before it.
        self._spaces = np.array([not piece.strip("\u2581") for piece in vocabulary.pieces(range(len(self._starts)))])

    def __call__(self, text: Tokens) -> Cloze | None:
        """Returns a text, int32 [n], with a blank for each hidden word; None where none is hidden."""
        key = text_key(text, self._vocabulary)
        words, present = self.words(text)
        everything = np.ones(len(present), bool)
        generator = np.random.default_rng(int(key, 16))
        chosen, _ = choose_words(everything, np.arange(len(present)), self._share, generator)
        blanks = tuple(
            Blank("word", int(place), np.flatnonzero(words == present[place])) for place in np.flatnonzero(chosen)
        )
        if not blanks:
            return None
        return Cloze(key, hide(text, np.concatenate([blank.positions for blank in blanks])), blanks)

    def words(self, text: Tokens) -> tuple[np.ndarray, np.ndarray]:
        """Returns the word of each token, int [n], and which words may be hidden, in order."""
        # After a reserved token what is left of a word is one of its own.
        words = words_of(np.append(EOS_ID, text), self._starts)[1:]
        is_text = text >= FIRST_TEXT_ID
        present = np.unique(words[is_text & ~self._spaces[text]])
        cut = [words[-1]] if is_text[-1] else []
        cut += [words[0]] if is_text[0] and not self._starts[text[0]] else []
        return words, present[~np.isin(present, cut)]

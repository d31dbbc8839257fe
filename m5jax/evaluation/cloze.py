"""Held-out texts with blanks: what of them is hidden, under a name that says all that is read and asked.

A blank is a token as the pipeline masks it, a whole word, or a whole value of an attribute (Taylor 1953, "Cloze
procedure: a new tool for measuring readability"). Equal units of two evaluations are equal texts with the same blanks:
those of words and values whatever the vocabularies, those of tokens of the same vocabulary only.
"""

import hashlib
from typing import NamedTuple

import numpy as np

from m5jax.data.examples import Example
from m5jax.data.mask_tokens import Tokens
from m5jax.data.vocabulary import MASK_ID, Vocabulary


class Blank(NamedTuple):
    """What is predicted together.

    Attributes:
        hidden: "token", "word" or "value".
        place: of it in the text: which token, word or value, from 0.
        positions: of its tokens, int64 [pieces], rising.
        attribute: the name, of a value.
        elsewhere: of a value, whether it occurs in the rest of the text.
    """

    hidden: str
    place: int
    positions: np.ndarray
    attribute: str = ""
    elsewhere: bool = False


class Cloze(NamedTuple):
    """A text with blanks.

    Attributes:
        unit: its name.
        example: what the model reads; exactly the blanks' tokens are predicted.
        blanks: one or more.
    """

    unit: str
    example: Example
    blanks: tuple[Blank, ...]


def original_text(example: Example) -> Tokens:
    """Returns the tokens of an example of masked LM before they were masked."""
    return np.where(example.targets > 0, example.targets, example.inputs)


def token_cloze(example: Example, vocabulary: Vocabulary) -> Cloze | None:
    """Returns an example of masked LM with a blank for each token that it predicts; None where it predicts none."""
    positions = np.flatnonzero(example.targets)
    content = hashlib.blake2b(vocabulary.fingerprint.encode(), digest_size=8)
    for array in (example.inputs, example.targets):
        content.update(array.astype(np.int32).tobytes())
    blanks = tuple(Blank("token", int(position), positions[[row]]) for row, position in enumerate(positions))
    return Cloze(content.hexdigest(), example, blanks) if blanks else None


def text_key(text: Tokens, vocabulary: Vocabulary) -> str:
    """Returns 16 hexadecimal digits that tell a text from others, however it was cut to tokens."""
    return hashlib.blake2b(vocabulary.decode(text.tolist()).encode("utf-8"), digest_size=8).hexdigest()


def hide(text: Tokens, positions: np.ndarray) -> Example:
    """Returns an example in which the tokens at `positions` are <mask>, and predicted."""
    inputs, targets = text.copy(), np.zeros_like(text)
    inputs[positions], targets[positions] = MASK_ID, text[positions]
    return Example(inputs, targets, np.ones_like(text))

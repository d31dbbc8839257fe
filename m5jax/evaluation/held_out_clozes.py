"""From packed held-out rows to texts with blanks."""

from collections.abc import Iterable, Iterator, Sequence

from m5jax.data.examples import unpack_rows
from m5jax.data.held_out_rows import Batch
from m5jax.data.mask_tokens import Tokens
from m5jax.data.vocabulary import Vocabulary
from m5jax.evaluation.cloze import Cloze, original_text, text_key, token_cloze
from m5jax.evaluation.masked_values import Values
from m5jax.evaluation.masked_words import WordHiding


def held_out_clozes(batches: Iterable[Batch], vocabulary: Vocabulary, names: Sequence[str] = ()) -> list[Cloze]:
    """Returns what is hidden of the texts in rows of masked LM: tokens, as they are masked there, then some of each
    text's words, then its values one at a time. A text that is there twice counts once.

    Args:
        batches: of `HeldOut.batches`.
        vocabulary: of the texts.
        names: of attributes, see `Values`.
    """
    examples = [example for batch in batches for example in unpack_rows(batch)]
    tokens = {cloze.unit: cloze for example in examples if (cloze := token_cloze(example, vocabulary))}
    texts = {text_key(text, vocabulary): text for text in map(original_text, examples)}.values()
    words = [cloze for cloze in map(WordHiding(vocabulary), texts) if cloze]
    values = Values(vocabulary, names)
    return [*tokens.values(), *words, *(cloze for text in texts for cloze in values.clozes(text))]


def row_texts(batches: Iterable[Batch]) -> Iterator[Tokens]:
    """Yields the texts in rows of masked LM as they were before."""
    for batch in batches:
        yield from map(original_text, unpack_rows(batch))

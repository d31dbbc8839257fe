"""Which rows of a model's vocabulary a run goes on with, when its vocabulary is an extension of the one before."""

from m5jax.data.vocabulary import Vocabulary
from m5jax.data.vocabulary_extension import split_pieces
from m5jax.errors import UserError


def check_extension(old: Vocabulary, new: Vocabulary, where: str) -> None:
    """Raises UserError unless the text ids of `old`, that of `where`, mean the same in `new`, which may have more."""
    before, after = (vocabulary.pieces(range(vocabulary.text_size)) for vocabulary in (old, new))
    for index, piece in enumerate(before):
        found = after[index] if index < len(after) else "nothing"
        if found != piece:
            raise UserError(
                f"the vocabulary is neither that of {where} nor an extension of it: id {index} is {piece} there, "
                f"{found} here; m5jax vocabulary extend makes one"
            )


def row_sources(old: Vocabulary, new: Vocabulary) -> dict[int, list[int]]:
    """Returns the old ids whose mean each id of `new` begins with, for ids that do not begin with the same old id.

    A new piece begins with the mean of the pieces that the old vocabulary splits it into (FVT, arXiv 2402.09977), a
    label with itself, and with nothing where `old` lacks it. Ids of old pieces, and ids beyond `new`, are not returned.
    """
    added = range(old.text_size, new.text_size)
    sources = dict(zip(added, split_pieces(old, new.pieces(added)), strict=True))
    labels = {index: [old.label_ids[label]] if label in old.label_ids else [] for label, index in new.label_ids.items()}
    return sources | {index: own for index, own in labels.items() if own != [index]}

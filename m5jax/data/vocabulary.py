"""Training and loading of vocabularies (SentencePiece unigram, arXiv 1804.10959), and the vocabulary of this process.

The ids every vocabulary reserves, in order; everything after them is learned:

    0 <pad>   1 </s>   2 <unk>   3 <mask>                            special
    4..103    <extra_id_0> .. <extra_id_99>                          sentinels of span corruption
    104..113  <title> .. <locale>                                    field tokens of serialized records
    114..141  <field_0> .. <field_27>                                for attribute names; the last four, value types
    142..145  <regular> <sequential> <extreme> <causal>              mode tokens of denoising objectives
    146..401  <0x00> .. <0xFF>                                       bytes, for characters outside the vocabulary

Special ids and sentinels never come out of encoding text. Field tokens do: they are part of the serialized text.

A run with labelled tasks appends their labels: ids from the end of the model on, which are predicted and never read.
"""

import hashlib
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import sentencepiece

from m5jax.data.serialize import FIELD_TOKENS
from m5jax.data.vocabulary_sample import sample_texts
from m5jax.errors import UserError
from m5jax.files import write_whole

PAD_ID, EOS_ID, UNK_ID, MASK_ID = 0, 1, 2, 3
SENTINELS = tuple(f"<extra_id_{index}>" for index in range(100))
MODE_TOKENS = ("<regular>", "<sequential>", "<extreme>", "<causal>")
SPARE_TOKENS = tuple(f"<field_{index}>" for index in range(28))
ALL_FIELD_TOKENS = (*FIELD_TOKENS, *SPARE_TOKENS, *MODE_TOKENS)
BYTE_PIECES = tuple(f"<0x{byte:02X}>" for byte in range(256))
RESERVED_PIECES = ("<pad>", "</s>", "<unk>", "<mask>", *SENTINELS, *ALL_FIELD_TOKENS, *BYTE_PIECES)

SENTINEL_IDS = range(4, 4 + len(SENTINELS))
FIELD_IDS = range(SENTINEL_IDS.stop, SENTINEL_IDS.stop + len(ALL_FIELD_TOKENS))
# Tokens that an attribute's value follows.
VALUE_IDS = (RESERVED_PIECES.index("<value>"), *(RESERVED_PIECES.index(token) for token in SPARE_TOKENS))
MODE_IDS = {token: RESERVED_PIECES.index(token) for token in MODE_TOKENS}
# Text starts here: ids below are never masked, and never predicted.
FIRST_TEXT_ID = FIELD_IDS.stop
FIRST_LEARNED_ID = FIRST_TEXT_ID + len(BYTE_PIECES)

# Of mT5 (arXiv 2010.11934, section 3.2); runs mix less evenly, with the default of `mixing.py`.
DEFAULT_ALPHA = 0.3
DEFAULT_MAX_SENTENCES = 1_000_000
# Longer lines are cut: the trainer drops lines of more than a number of bytes.
_MAX_SENTENCE_CHARACTERS = 1_000
# The floating-point sums of training, and so the pieces, depend on the number of threads.
_TRAINING_THREADS = 2


class Vocabulary:
    """A trained vocabulary.

    Raises:
        UserError: the bytes are no SentencePiece model, or one without the reserved ids of this module.
    """

    pad_id, eos_id, unk_id, mask_id = PAD_ID, EOS_ID, UNK_ID, MASK_ID
    sentinel_ids, field_ids = SENTINEL_IDS, FIELD_IDS
    first_text_id, first_learned_id = FIRST_TEXT_ID, FIRST_LEARNED_ID

    def __init__(self, model: bytes, source: str = "the vocabulary", labels: Sequence[str] = ()) -> None:
        self.model, self.labels = model, tuple(labels)
        self.fingerprint = hashlib.sha256(model + "".join(f"{label}\n" for label in labels).encode()).hexdigest()[:16]
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.load_from_serialized_proto(model)
        except RuntimeError as error:
            raise UserError(f"{source} is not a SentencePiece model; m5jax vocabulary train makes one") from error
        for index, piece in enumerate(RESERVED_PIECES):
            found = self._processor.id_to_piece(index) if index < self.text_size else "nothing"
            if found != piece:
                raise UserError(
                    f"{source} has {found} at id {index} where m5jax reserves {piece}; m5jax vocabulary train makes one"
                )
        self.label_ids = {label: self.text_size + index for index, label in enumerate(self.labels)}

    @classmethod
    def load(cls, path: str | Path, labels: Sequence[str] = ()) -> "Vocabulary":
        """Reads the model file at `path` and appends `labels`; raises UserError where there is none that fits."""
        try:
            model = Path(path).read_bytes()
        except OSError as error:
            raise UserError(f"cannot read the vocabulary {path}: {error.strerror}") from error
        if not model:
            raise UserError(f"the vocabulary {path} is empty")
        return cls(model, source=str(path), labels=labels)

    def save(self, path: str | Path) -> None:
        """Writes the model file, without labels; raises UserError where that fails."""
        write_whole(Path(path), self.model)

    @property
    def text_size(self) -> int:
        """Number of ids of text, the reserved ones included."""
        return self._processor.get_piece_size()

    @property
    def size(self) -> int:
        """Number of ids, labels included."""
        return self.text_size + len(self.labels)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the token ids of each text, without an end-of-sequence id."""
        return self._processor.encode(list(texts), out_type=int)

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of token ids; special ids and labels leave nothing behind."""
        return self._processor.decode([int(index) for index in ids if index < self.text_size])

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """Returns the piece or label of each id, for display."""
        size = self.text_size
        return [self._processor.id_to_piece(int(i)) if i < size else self.labels[i - size] for i in ids]

    def word_starts(self) -> np.ndarray:
        """Returns bool [text_size]: whether a piece begins a word, which SentencePiece marks by a space in front."""
        return np.array([piece.startswith("\u2581") for piece in self.pieces(range(self.text_size))])


def train_vocabulary(
    texts_by_language: Mapping[str, Iterable[str]],
    counts: Mapping[str, int],
    *,
    size: int,
    output: str | Path,
    alpha: float = DEFAULT_ALPHA,
    max_sentences: int = DEFAULT_MAX_SENTENCES,
    seed: int = 0,
) -> Vocabulary:
    """Trains a vocabulary of `size` ids on a language-balanced sample and writes the model to `output`.

    The same input and seed give the same bytes.

    Args:
        texts_by_language, counts, alpha, max_sentences, seed: of the sample, see `sample_texts`.
        size: number of ids, the 402 reserved ones included.
        output: the file to write.

    Raises:
        UserError: the texts do not support `size`, a language has no texts, or `output` cannot be written.
    """
    sample = sample_texts(texts_by_language, counts, alpha=alpha, max_sentences=max_sentences, seed=seed)
    vocabulary = Vocabulary(train_model(itertools.chain.from_iterable(sample.values()), size))
    vocabulary.save(output)
    return vocabulary


def _sentences(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for line in text.splitlines():
            for start in range(0, len(line), _MAX_SENTENCE_CHARACTERS):
                yield line[start : start + _MAX_SENTENCE_CHARACTERS]


def train_model(texts: Iterable[str], size: int, exact: bool = True) -> bytes:
    """Returns a SentencePiece model of `size` ids; unless `exact`, of fewer where the texts support no more.

    Raises:
        UserError: the texts do not support `size`.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_sentences(texts),
            model_writer=model,
            vocab_size=size,
            hard_vocab_limit=exact,
            model_type="unigram",
            normalization_rule_name="nfkc",
            byte_fallback=True,
            # With byte fallback the rarest characters need no piece of their own.
            character_coverage=0.9995,
            pad_id=PAD_ID,
            eos_id=EOS_ID,
            unk_id=UNK_ID,
            bos_id=-1,
            pad_piece="<pad>",
            control_symbols=["<mask>", *SENTINELS],
            user_defined_symbols=list(ALL_FIELD_TOKENS),
            # Four bytes are the most that a character takes, six the most that normalization makes of it.
            max_sentence_length=6 * _MAX_SENTENCE_CHARACTERS,
            train_extremely_large_corpus=size > 128_000,
            num_threads=_TRAINING_THREADS,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _training_error(size, str(error)) from error
    return model.getvalue()


def _training_error(size: int, message: str) -> UserError:
    if largest := re.search(r"too high.*<= (\d+)", message):
        return UserError(f"vocabulary size {size} is too large for these texts; the largest possible: {largest[1]}")
    if smallest := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return UserError(f"vocabulary size {size} is too small for these texts; the smallest possible: {smallest[1]}")
    return UserError(f"SentencePiece cannot train a vocabulary of size {size}: {message.splitlines()[0]}")


_current: Vocabulary | None = None


def set_current_vocabulary(path: str | Path, labels: Sequence[str] = ()) -> Vocabulary:
    """Loads the vocabulary at `path`, with the labels that its tasks predict (`mixture_labels`), as this process's own,
    the one its tasks tokenize with, and returns it."""
    global _current
    _current = Vocabulary.load(path, labels)
    return _current


def current_vocabulary() -> Vocabulary:
    """Returns the vocabulary last set; raises UserError where none was."""
    if _current is None:
        raise UserError("no vocabulary is set; name one that m5jax vocabulary train made")
    return _current

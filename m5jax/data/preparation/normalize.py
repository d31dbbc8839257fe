"""Unicode normalisation of texts, and the words that filters and duplicates are counted in."""

import re
import unicodedata

# Zero-width (non-)joiners carry meaning in Persian, Urdu and the scripts of India; the others are visible signs that
# Unicode counts among the format characters: Arabic number signs, the end of an ayah, and their like.
_KEPT_FORMATS = frozenset("\u200c\u200d\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd") | {
    chr(code) for code in range(0x600, 0x606)
}
_LINE_ENDS = frozenset("\n\r\v\f\x85\u2028\u2029")
_BLANK_LINES = re.compile(r"\n{3,}")


class _Characters(dict[int, str | int | None]):
    """What `str.translate` puts for each character, looked up once: None for those that go."""

    def __missing__(self, code: int) -> str | int | None:
        self[code] = value = self._value(chr(code))
        return value

    def _value(self, character: str) -> str | int | None:
        raise NotImplementedError


class _Cleaned(_Characters):
    def _value(self, character: str) -> str | int | None:
        if character in _LINE_ENDS:
            return "\n"
        category = unicodedata.category(character)
        if category == "Zs" or character == "\t":
            return " "
        # Controls, private use, and noncharacters (Unicode 15, section 23.7); characters that are only too new for
        # this Python's tables stay.
        noncharacter = ord(character) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(character) <= 0xFDEF
        if category in ("Cc", "Cs", "Co") or noncharacter or (category == "Cf" and character not in _KEPT_FORMATS):
            return None
        return ord(character)


class _WordCharacters(_Characters):
    def _value(self, character: str) -> str | int | None:
        # Punctuation, symbols, separators and controls divide words; marks do not: Arabic and Indian vowel signs.
        if unicodedata.category(character)[0] in "PSZC" and character not in _KEPT_FORMATS:
            return " "
        return f" {character} " if _is_unspaced(ord(character)) else ord(character)


def _is_unspaced(code: int) -> bool:
    """Whether a character belongs to a script written without spaces: Thai to Lao, Burmese, Khmer, Kana, Han."""
    return (
        0x0E00 <= code <= 0x0EFF
        or 0x1000 <= code <= 0x109F
        or 0x1780 <= code <= 0x17FF
        or 0x3040 <= code <= 0x30FF
        or 0x3400 <= code <= 0x9FFF
        or 0xF900 <= code <= 0xFAFF
        or 0x20000 <= code <= 0x3FFFF
    )


class _Letters(_Characters):
    def _value(self, character: str) -> str | int | None:
        return ord(character) if unicodedata.category(character)[0] in "LM" else None


_CLEANED, _WORD_CHARACTERS, _LETTERS = _Cleaned(), _WordCharacters(), _Letters()


def normalize_text(text: str) -> str:
    """Returns `text` in Unicode's composed form (NFC, UAX 15) without what a reader cannot see.

    Out go control characters, byte-order marks, zero-width spaces, soft hyphens, marks of writing direction, private
    use and noncharacters: two texts that look alike should be equal, and none of them means anything to a model. Every
    line end becomes a line feed, every other run of white space one space, more than one blank line one. NFC and not
    NFKC: a "²" or a full-width letter is a difference that the author made, and the vocabulary's own NFKC comes later.
    """
    # Composed last: a removed character may have stood between a letter and its accent.
    composed = unicodedata.normalize("NFC", text.replace("\r\n", "\n").translate(_CLEANED))
    lines = "\n".join(" ".join(line.split()) for line in composed.split("\n"))
    return _BLANK_LINES.sub("\n\n", lines).strip()


def split_words(text: str) -> list[str]:
    """Returns the case-folded words of `text`, without punctuation and symbols.

    Each character of a script that is written without spaces (Chinese, Japanese, Thai, ...) is a word.
    """
    return text.casefold().translate(_WORD_CHARACTERS).split()


def count_letters(text: str) -> int:
    """Returns the number of letters and of the marks on them, which Arabic and Indian vowel signs are."""
    return len(text.translate(_LETTERS))

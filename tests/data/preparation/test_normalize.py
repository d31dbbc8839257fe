import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from m5jax.data.preparation.normalize import count_letters, normalize_text, split_words


def test_what_goes_and_what_stays():
    assert normalize_text("Ka\u0308se\u00a0 \t rot\u200b\ufeff") == "Käse rot"
    assert normalize_text("a\r\nb\rc\u2028d\n\n\n\ne \x00\x07") == "a\nb\nc\nd\n\ne"
    # Soft hyphen, direction marks, private use, noncharacter.
    assert normalize_text("Donau\u00addampf \u200fسلام\u200e \ue000x\ufdd0") == "Donaudampf سلام x"
    # A zero-width non-joiner is spelling in Persian, an Arabic number sign is visible, and compatibility forms differ.
    assert normalize_text("می\u200cخواهم \u0600١ x² ｆ") == "می\u200cخواهم \u0600١ x² ｆ"
    # What stood between a letter and its accent is gone before they are composed.
    assert normalize_text("e\u200b\u0301") == "é"


@given(st.text())
def test_normalised_text_is_stable_composed_and_has_no_stray_white_space(text):
    normalized = normalize_text(text)
    assert normalize_text(normalized) == normalized
    assert unicodedata.is_normalized("NFC", normalized)
    assert not any(character.isspace() and character not in " \n" for character in normalized)
    assert not any(stray in normalized for stray in ("  ", " \n", "\n ", "\n\n\n"))
    assert not any(unicodedata.category(character) in ("Cc", "Co") for character in normalized if character != "\n")


def test_words_of_several_scripts():
    assert split_words("Größe: 12,5-Zoll (XL)!") == ["grösse", "12", "5", "zoll", "xl"]
    assert split_words("السَّلامُ عليكم،") == ["السَّلامُ", "عليكم"]
    assert split_words("हिन्दी में") == ["हिन्दी", "में"]
    assert split_words("中文字 abc") == ["中", "文", "字", "abc"]
    assert split_words("!!! 🙂 —") == []


@given(st.text())
def test_letters_are_those_of_the_unicode_tables(text):
    assert count_letters(text) == sum(unicodedata.category(character)[0] in "LM" for character in text)

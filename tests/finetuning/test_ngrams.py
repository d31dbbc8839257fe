"""Ids of n-grams against their definition, counted one after the other."""

import collections
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m5jax.errors import UserError
from m5jax.finetuning.ngrams import HashedNgrams, Ngrams, count_ngrams, text_ngrams


def naive_ngrams(words: list[str]) -> list[str]:
    """Returns the n-grams of words in lower case without punctuation."""
    found = [f"word:{word}" for word in words]
    for place in range(1, len(words)):
        found.append(f"bigram:{words[place - 1]} {words[place]}")
    for word in words:
        characters = ["#", *word, "#"]
        for place in range(2, len(characters)):
            found.append("trigram:" + "".join(characters[place - 2 : place + 1]))
    return found


WORDS = st.lists(st.text("abcé漢9", min_size=1, max_size=5), max_size=6)
SEPARATORS = st.sampled_from([" ", "  ", ", ", "-", " / ", "<title> ", "<attribute> ", "! ", "< "])


@settings(max_examples=100)
@given(WORDS, st.data())
def test_ngrams_are_words_pairs_of_words_and_trigrams_of_characters(words: list[str], data: st.DataObject) -> None:
    text = "<title> "
    for word in words:
        text += data.draw(st.sampled_from([word, word.upper()])) + data.draw(SEPARATORS)
    assert list(text_ngrams(text)) == naive_ngrams([word.casefold() for word in words])


def test_of_a_product_names_and_values_count_and_tokens_of_fields_do_not() -> None:
    found = list(text_ngrams("<title> Red LAMP<attribute> color<value> x"))
    assert found[:4] == ["word:red", "word:lamp", "word:color", "word:x"]
    assert found[4:7] == ["bigram:red lamp", "bigram:lamp color", "bigram:color x"]
    assert found[7:10] == ["trigram:#re", "trigram:red", "trigram:ed#"]
    assert found[-1] == "trigram:#x#"


def test_spellings_that_look_alike_are_one() -> None:
    assert list(text_ngrams("ﬁne ＬＡＭＰ")) == list(text_ngrams("fine lamp"))


TEXTS = ["red lamp", "red chair", "red lamp blue", "a lamp, a lamp"]


def test_the_frequent_ones_of_each_kind_are_known() -> None:
    counts = collections.Counter(ngram for text in TEXTS for ngram in naive_ngrams(text.replace(",", "").split()))
    ngrams = count_ngrams(TEXTS, 2, 10)
    expected: list[str] = []
    for kind in ("word", "bigram", "trigram"):
        own = [(-count, ngram) for ngram, count in counts.items() if ngram.startswith(f"{kind}:")]
        expected += [ngram for _, ngram in sorted(own)[:2]]
    assert list(ngrams.known) == expected
    assert expected[:3] == ["word:lamp", "word:red", "bigram:a lamp"]
    assert ngrams.size == 1 + 6 + 10


def test_known_ngrams_have_their_number_and_others_one_of_a_bucket() -> None:
    ngrams = count_ngrams(TEXTS, 2, 10)
    (ids,) = ngrams.encode(["red lamp chair"])
    found = naive_ngrams(["red", "lamp", "chair"])
    assert len(ids) == len(found)
    for number, ngram in zip(ids, found, strict=True):
        if ngram in ngrams.known:
            assert number == 1 + ngrams.known.index(ngram)
        else:
            assert 7 <= number < 17
    assert ngrams.encode(["", "?!"]) == [[], []]


def test_hashes_are_the_same_everywhere_and_spread() -> None:
    ngrams = Ngrams(("word:red",), 1000)
    # Fixed: ids of a model that was saved must not change.
    assert ngrams.encode(["red lamp"])[0] == [1, 566, 380, 236, 186, 419, 784, 439, 49, 957]
    words = [f"w{number}" for number in range(500)]
    assert len({ngrams.encode([word])[0][0] for word in words}) > 350


def test_a_numbering_comes_back_from_its_file(tmp_path: Path) -> None:
    ngrams = count_ngrams([*TEXTS, "漢字 é"], 100, 7)
    path = tmp_path / "vocabulary" / "ngrams.json"
    ngrams.save(path)
    loaded = Ngrams.load(path)
    assert loaded == ngrams
    assert loaded.encode(["red 漢字 unknown"]) == ngrams.encode(["red 漢字 unknown"])
    assert [file.name for file in path.parent.iterdir()] == ["ngrams.json"]


@pytest.mark.parametrize("content", [None, "", "{}", '{"known": 3, "buckets": 2}', '{"known": [], "buckets": "x"}'])
def test_a_file_without_a_numbering_is_refused(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "ngrams.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=r"ngrams.json holds no n-grams .*; m5jax finetune writes them"):
        Ngrams.load(path)


def test_a_numbering_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        Ngrams(()).save(tmp_path / "file" / "ngrams.json")


def test_the_encoder_has_a_row_for_each_id() -> None:
    ngrams = count_ngrams(TEXTS, 2, 10)
    config = HashedNgrams(width=8, most=2, buckets=10, dropout_rate=0.1).config(ngrams, 32)
    assert (config.vocab_size, config.width, config.max_length, config.dropout_rate) == (17, 8, 32, 0.1)


@pytest.mark.parametrize("name", ["width", "most", "buckets"])
def test_settings_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"HashedNgrams.{name} = 0; allowed: 1 and above"):
        HashedNgrams(**{name: 0})
    if name == "buckets":
        with pytest.raises(UserError, match="Ngrams.buckets = 0"):
            Ngrams((), 0)

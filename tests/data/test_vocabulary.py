"""Training, loading and reserved ids of vocabularies."""

import io
import random
from collections.abc import Iterable
from pathlib import Path

import pytest
import sentencepiece

from m5jax.data import vocabulary as vocabulary_module
from m5jax.data.serialize import FIELD_TOKENS
from m5jax.data.vocabulary import Vocabulary, current_vocabulary, set_current_vocabulary, train_vocabulary
from m5jax.errors import UserError


def _texts(seed: int, count: int) -> list[str]:
    generator = random.Random(seed)
    words = ["".join(generator.choices("abcdefghijklmnop", k=generator.randint(2, 7))) for _ in range(400)]
    return ["<title> " + " ".join(generator.choices(words, k=12)) for _ in range(count)]


TEXTS = {"en": _texts(1, 300), "de": _texts(2, 40)}
COUNTS = {language: len(texts) for language, texts in TEXTS.items()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    path = tmp_path_factory.mktemp("vocabulary") / "new_folder" / "a.model"
    train_vocabulary(TEXTS, COUNTS, size=700, output=path)
    return Vocabulary.load(path)


def test_reserved_ids_are_where_they_belong(trained: Vocabulary) -> None:
    assert trained.size == 700
    assert trained.pieces(range(5)) == ["<pad>", "</s>", "<unk>", "<mask>", "<extra_id_0>"]
    assert trained.pieces([103, 104, 113, 114, 141, 142, 145, 146, 401]) == [
        "<extra_id_99>",
        "<title>",
        "<locale>",
        "<field_0>",
        "<field_27>",
        "<regular>",
        "<causal>",
        "<0x00>",
        "<0xFF>",
    ]
    assert trained.first_text_id == 146
    assert trained.first_learned_id == 402
    assert trained.pieces(trained.field_ids)[: len(FIELD_TOKENS)] == list(FIELD_TOKENS)
    assert trained.pieces(trained.sentinel_ids)[7] == "<extra_id_7>"


def test_text_comes_back_also_with_characters_that_were_never_seen(trained: Vocabulary) -> None:
    text = "abc 漢字 ß ثوب"
    (ids,) = trained.encode([text])
    assert trained.unk_id not in ids
    assert trained.decode(ids) == text


def test_field_tokens_are_parsed_and_special_ones_are_not(trained: Vocabulary) -> None:
    (ids,) = trained.encode(["<title> abc <mask> </s> <extra_id_3>"])
    assert trained.field_ids.start in ids
    assert not {trained.mask_id, trained.eos_id, *trained.sentinel_ids} & set(ids)


def test_two_trainings_give_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    def model(name: str, seed: int) -> bytes:
        train_vocabulary(TEXTS, COUNTS, size=600, output=tmp_path / name, alpha=0.0, max_sentences=120, seed=seed)
        return (tmp_path / name).read_bytes()

    assert model("a", 0) == model("b", 0)
    assert model("a", 0) != model("c", 1)


def test_the_sample_follows_the_rates_and_repeats_small_languages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: Vocabulary
) -> None:
    seen: list[str] = []

    def record(texts: Iterable[str], size: int) -> bytes:
        seen.extend(texts)
        return trained.model

    monkeypatch.setattr(vocabulary_module, "train_model", record)
    texts = {"en": [f"e{index} x" for index in range(1000)], "de": [f"d{index} x" for index in range(10)]}
    train_vocabulary(texts, {"en": 1000, "de": 10}, size=700, output=tmp_path / "m", alpha=0.5, max_sentences=200)
    # sqrt(1000) : sqrt(10) = 10 : 1
    english = [text for text in seen if text.startswith("e")]
    german = [sorted(text.split())[0] for text in seen if "d" in text]
    assert (len(english), len(german)) == (182, 18)
    assert len(set(english)) == 182
    assert set(german) == {f"d{index}" for index in range(10)}


def test_a_size_beyond_the_texts_names_the_largest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"size 50000 is too large for these texts; the largest possible: \d+") as error:
        train_vocabulary(TEXTS, COUNTS, size=50_000, output=tmp_path / "m")
    largest = int(str(error.value).rsplit(" ", 1)[1])
    assert train_vocabulary(TEXTS, COUNTS, size=largest, output=tmp_path / "m").size == largest


def test_a_size_below_the_reserved_ids_names_the_smallest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"size 300 is too small for these texts; the smallest possible: 4\d\d"):
        train_vocabulary(TEXTS, COUNTS, size=300, output=tmp_path / "m")


def test_a_language_without_texts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fr has no examples"):
        train_vocabulary({**TEXTS, "fr": []}, {**COUNTS, "fr": 0}, size=600, output=tmp_path / "m")
    with pytest.raises(UserError, match="'fr' has no texts"):
        train_vocabulary({**TEXTS, "fr": []}, {**COUNTS, "fr": 5}, size=600, output=tmp_path / "m")


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write .*file/m"):
        train_vocabulary(TEXTS, COUNTS, size=600, output=tmp_path / "file" / "m")


@pytest.mark.parametrize("content", [b"\x08\x01 no model", bytes(range(256))])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(UserError, match="m is not a SentencePiece model"):
        Vocabulary.load(tmp_path / "m")


def test_a_truncated_model_is_refused(tmp_path: Path, trained: Vocabulary) -> None:
    (tmp_path / "m").write_bytes(trained.model[: len(trained.model) // 2])
    with pytest.raises(UserError, match="m is not a SentencePiece model|m has .* at id"):
        Vocabulary.load(tmp_path / "m")


def test_missing_and_empty_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read the vocabulary .*absent"):
        Vocabulary.load(tmp_path / "absent")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(UserError, match="empty"):
        Vocabulary.load(tmp_path / "empty")


def test_a_model_without_the_reserved_ids_is_refused() -> None:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS["en"]), model_writer=model, vocab_size=200, minloglevel=2
    )
    with pytest.raises(UserError, match="other.model has <unk> at id 0 where m5jax reserves <pad>"):
        Vocabulary(model.getvalue(), source="other.model")


def test_the_current_vocabulary(tmp_path: Path, trained: Vocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary_module, "_current", None)
    with pytest.raises(UserError, match="no vocabulary is set"):
        current_vocabulary()
    (tmp_path / "m").write_bytes(trained.model)
    assert set_current_vocabulary(tmp_path / "m") is current_vocabulary()
    assert current_vocabulary().fingerprint == trained.fingerprint

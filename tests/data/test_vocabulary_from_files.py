"""Vocabularies from files of records: an extension, on the command line."""

import json
from pathlib import Path

import pytest

from m5jax.cli.main import main
from m5jax.data.vocabulary import Vocabulary
from tests.data.test_vocabulary_extension import FOREIGN_TEXTS, NEW_TEXTS, OLD_TEXTS

# A record's own text has no field tokens.
OLD, GERMAN, GREEK = ([text.removeprefix("<title> ") for text in own] for own in (OLD_TEXTS, NEW_TEXTS, FOREIGN_TEXTS))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with records in two languages and a vocabulary of others."""
    directory = tmp_path_factory.mktemp("vocabularies")
    for name, texts in (("old", {"en": OLD}), ("new", {"de": GERMAN, "el": GREEK})):
        records = [{"body": text, "lang": language} for language, own in texts.items() for text in own]
        (directory / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert run(directory, "train", "old", "--size=560", "--output=old.model") == 0
    return directory


def run(directory: Path, verb: str, records: str, *flags: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        patch.setenv("M5JAX_CACHE", str(directory / "cache"))
        return main(["vocabulary", verb, f"--input={records}.jsonl", "--column=text=body", *flags])


def test_an_extension_tells_the_tokens_a_word_of_each_language(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--vocabulary=old.model", "--size=680", "--output=new.model"]
    assert run(directory, "extend", "new", *flags) == 0
    printed = capsys.readouterr().out
    assert "vocabulary of 680 pieces written to new.model" in printed
    figures = {line.split()[0]: tuple(map(float, line.split()[1:])) for line in printed.splitlines()[2:4]}
    old, new = (Vocabulary.load(directory / name) for name in ("old.model", "new.model"))
    for language, texts in (("de", GERMAN), ("el", GREEK)):
        words = sum(len(text.split()) for text in texts)
        expected = [sum(map(len, vocabulary.encode(texts))) / words for vocabulary in (old, new)]
        assert figures[language] == pytest.approx(expected, abs=1e-3)
        assert expected[1] < expected[0]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--vocabulary=absent.model", "--size=600", "--output=a"], "cannot read the vocabulary absent.model"),
        (["--vocabulary=new.jsonl", "--size=600", "--output=a"], "new.jsonl is not a SentencePiece model"),
        (["--vocabulary=old.model", "--size=600", "--output=old.model"], "old.model exists; remove it or choose"),
        (["--vocabulary=old.model", "--size=560", "--output=a"], "size 560 extends nothing"),
        (["--vocabulary=old.model", "--size=90000", "--output=a"], "size 90000 is too large, the largest possible: "),
    ],
)
def test_what_cannot_be_extended_is_said_in_one_line(
    directory: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert run(directory, "extend", "new", *flags) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (directory / "a").exists()

"""The whole pipeline on small inputs, with Beam's local runner."""

import dataclasses
import json
import random
from html.parser import HTMLParser
from pathlib import Path

import pytest

from m5jax.data.corpus import ingest_corpus
from m5jax.data.preparation.filters import QualityFilters
from m5jax.data.preparation.language import LanguageIdentification
from m5jax.data.preparation.near_duplicates import NearDuplicates
from m5jax.data.preparation.pipeline import prepare
from m5jax.data.preparation.settings import Preparation
from m5jax.errors import UserError
from tests.data.preparation.conftest import FILES, TEXTS, Raw, read_lines, read_shards, sentence, write_rows

ALL = {
    "languages": LanguageIdentification(("en", "de", "ar")),
    "filters": QualityFilters(),
    "near_duplicates": NearDuplicates(),
    "column_mapping": {"text": "body", "split_key": "page"},
    "validation_fraction": 0.2,
}


@pytest.fixture(scope="module")
def prepared(raw: Raw, tmp_path_factory):
    output = tmp_path_factory.mktemp("preparation") / "prepared"
    return output, prepare(Preparation(input=raw.sources, output=str(output), **ALL))


def test_planted_faults_are_dropped_and_all_else_is_kept(raw, prepared):
    shards = read_shards(prepared[0])
    for language in FILES:
        texts = [row["text"] for split in ("train", "validation") for row in shards[language, split]]
        assert len(texts) == TEXTS
        assert set(texts) == raw.kept[language]


def test_every_row_is_counted_once(raw, prepared):
    _, statistics = prepared
    for language, values in statistics["languages"].items():
        assert values["dropped"] == raw.dropped[language]
        assert values["read"] == values["kept"] + sum(values["dropped"].values())
    assert statistics["read"] == statistics["kept"] + sum(statistics["dropped"].values())
    assert statistics["rejected"] == 0


def test_statistics_are_those_of_the_shards(prepared):
    output, statistics = prepared
    assert json.loads((output / "statistics.json").read_text(encoding="utf-8")) == json.loads(json.dumps(statistics))
    for (language, split), rows in read_shards(output).items():
        values = statistics["languages"][language]["splits"][split]
        assert values["records"] == len(rows)
        assert values["characters"] == sum(len(row["text"]) for row in rows)
        assert values["words"] == sum(len(row["text"].split()) for row in rows)
        compact = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
        assert values["bytes"] == sum(len(line.encode("utf-8")) + 1 for line in compact)


def test_rows_of_a_page_stay_on_one_side_as_in_a_corpus(raw, prepared, tmp_path):
    sides = {
        (language, row["text"]): split for (language, split), rows in read_shards(prepared[0]).items() for row in rows
    }
    arguments = {"kind": "text", "column_mapping": ALL["column_mapping"], "validation_fraction": 0.2}
    corpus = ingest_corpus("raw", {"train": raw.sources}, cache_dir=tmp_path, reject_limit=0.1, **arguments)
    assert corpus.rejected == 0
    for language in FILES:
        for split in ("train", "validation"):
            for text in set(corpus.texts(language, split)) & raw.kept[language]:
                assert sides[language, text] == split


def test_what_is_prepared_can_be_ingested(prepared, tmp_path):
    output, statistics = prepared
    sources = {split: [str(output / "*" / f"{split}-*.jsonl.zst")] for split in ("train", "validation")}
    corpus = ingest_corpus("clean", sources, kind="text", cache_dir=tmp_path)
    assert corpus.rejected == 0
    for language, values in statistics["languages"].items():
        for split, counts in values["splits"].items():
            assert corpus.count(language, split) == counts["records"]


def test_the_result_does_not_depend_on_the_order_of_the_input(raw, prepared, tmp_path):
    sources = []
    for path in reversed(raw.sources):
        copy = tmp_path / Path(path).name
        write_rows(copy, [json.loads(line) for line in reversed(read_lines(Path(path)))])
        sources.append(str(copy))
    prepare(Preparation(input=tuple(sources), output=str(tmp_path / "again"), **ALL))
    for path in prepared[0].glob("*/*.zst"):
        assert (tmp_path / "again" / path.relative_to(prepared[0])).read_bytes() == path.read_bytes()


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.links += [value for name, value in attributes if name in ("href", "src")]


def test_the_report_stands_alone(prepared):
    text = (prepared[0] / "report.html").read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)
    assert not page.links
    assert "script" not in page.tags
    assert {"svg", "table"} <= page.tags
    assert prepared[1]["fingerprint"] in text
    assert "near duplicate" in text


def test_an_existing_output_is_refused(raw, prepared):
    with pytest.raises(UserError, match="exists; remove it or choose another OUTPUT"):
        prepare(Preparation(input=raw.sources, output=str(prepared[0]), **ALL))


def test_a_failed_run_leaves_no_output_and_says_why(raw, tmp_path):
    rows = [{"text": sentence("en", random.Random(index)), "lang": "en"} for index in range(20)]
    write_rows(tmp_path / "raw.jsonl", [*rows, {"text": 3, "lang": "en"}, {"text": "\u200b \ufeff", "lang": "en"}])
    settings = Preparation(input=str(tmp_path / "raw.jsonl"), output=str(tmp_path / "prepared"))
    with pytest.raises(UserError, match=r"2 of 22 rows are bad \(9.1%, allowed: 1.0%\)") as caught:
        prepare(settings)
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {"raw.jsonl", "prepared.rejected.jsonl"}
    assert "prepared.rejected.jsonl" in str(caught.value)
    rejected = [json.loads(line) for line in (tmp_path / "prepared.rejected.jsonl").read_text("utf-8").splitlines()]
    assert [row["location"] for row in rejected] == [f"{tmp_path}/raw.jsonl:{line}" for line in (21, 22)]

    statistics = prepare(dataclasses.replace(settings, reject_limit=0.1))
    assert statistics["rejected"] == 2
    assert statistics["kept"] == 20
    assert len((tmp_path / "prepared" / "rejected.jsonl").read_text("utf-8").splitlines()) == 2


def test_bad_files_and_options_are_one_line(raw, tmp_path):
    (tmp_path / "cut.jsonl.zst").write_bytes(Path(raw.sources[2]).read_bytes()[:-20])
    settings = Preparation(input=str(tmp_path / "cut.jsonl.zst"), output=str(tmp_path / "out"), **ALL)
    with pytest.raises(UserError, match=r"is truncated: its compressed data ends after \d+ whole lines$"):
        prepare(settings)
    write_rows(tmp_path / "other.jsonl", [{"txt": "a"}])
    with pytest.raises(UserError, match="has no column 'body'"):
        prepare(dataclasses.replace(settings, input=str(tmp_path / "other.jsonl")))
    with pytest.raises(UserError, match="--rnner=X is no flag"):
        prepare(settings, ["--rnner=X"])
    with pytest.raises(UserError, match="--beam_options: Unexpected pipeline runner: Flonk"):
        prepare(settings, ["--runner=Flonk"])
    with pytest.raises(UserError, match="cannot write .*other.jsonl/out: "):
        prepare(dataclasses.replace(settings, output=str(tmp_path / "other.jsonl" / "out")))
    assert not list(tmp_path.glob(".out*"))


def test_an_error_of_the_system_in_a_step_is_one_line(raw, tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="^the pipeline stopped: .*No space left on device") as caught:
        prepare(Preparation(input=raw.sources, output=str(tmp_path / "out"), **ALL))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_held_out_texts_stay_and_their_copies_leave_the_training_texts(tmp_path):
    texts = [sentence("en", random.Random(index)) for index in range(40)]
    write_rows(tmp_path / "train.jsonl", [{"text": text, "lang": "en"} for text in texts])
    held_out = [texts[0], texts[1].rpartition(" ")[0], sentence("en", random.Random(99))]
    write_rows(tmp_path / "test.jsonl", [{"text": text, "lang": "en"} for text in held_out])
    files = {split: str(tmp_path / f"{split}.jsonl") for split in ("train", "test")}
    prepare(Preparation(input=files, output=str(tmp_path / "out"), near_duplicates=NearDuplicates()))
    shards = read_shards(tmp_path / "out")
    assert {row["text"] for row in shards["en", "test"]} == set(held_out)
    assert {row["text"] for row in shards["en", "train"]} == set(texts[2:])


def test_products_without_languages_and_with_repeated_ids(tmp_path):
    def product(number, title, **fields):
        return {"sku": f"p{number}", "title": title, "description": "", **fields}

    english = [product(index, sentence("en", random.Random(index), 12)) for index in range(30)]
    german = [product(index, sentence("de", random.Random(index), 12)) for index in range(30)]
    again = product(3, "another title with this number of an article")
    same = {**english[5], "sku": "p500"}
    write_rows(tmp_path / "products.jsonl", [*english, *german, again, same])
    settings = Preparation(
        input=str(tmp_path / "products.jsonl"),
        output=str(tmp_path / "out"),
        kind="product",
        column_mapping={"id": "sku"},
        languages=LanguageIdentification(("en", "de")),
        validation_fraction=0.0,
    )
    statistics = prepare(settings)
    assert statistics["languages"]["en"]["dropped"] == {"repeated_id": 1, "exact_duplicate": 1}
    assert statistics["languages"]["de"]["dropped"] == {}
    corpus = ingest_corpus("products", {"train": str(tmp_path / "out/*/*.zst")}, cache_dir=tmp_path / "cache")
    assert corpus.rejected == 0
    assert corpus.count("en", "train") + corpus.count("en", "validation") == 30
    (locale,) = {row["locale"] for row in read_shards(tmp_path / "out")["de", "train"]}
    assert locale == "de"


def test_a_bucket_with_hundreds_of_copies(tmp_path):
    generator = random.Random(0)
    base = sentence("en", generator, 60)
    copies = [f"{base} {index}" for index in range(400)]
    others = [sentence("en", generator, 60) for _ in range(50)]
    write_rows(tmp_path / "raw.jsonl", [{"text": text, "lang": "en"} for text in copies + others])
    settings = Preparation(
        input=str(tmp_path / "raw.jsonl"), output=str(tmp_path / "out"), near_duplicates=NearDuplicates()
    )
    assert prepare(settings)["dropped"] == {"near_duplicate": 399}

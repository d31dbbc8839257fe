"""The demo catalog: the same bytes for a seed, valid records, and truth that holds."""

import collections
import json
from pathlib import Path
from typing import Any

import pytest

from m5jax.data.corpus import ingest_corpus
from m5jax.data.embedded_catalog import embedded_catalog_directory, write_embedded_catalog
from m5jax.data.embedded_catalog.attributes import ATTRIBUTES
from m5jax.data.embedded_catalog.product_types import DEPARTMENTS, PRODUCT_TYPES
from m5jax.data.labelled_examples import spans_of
from m5jax.data.records import parse_record
from m5jax.errors import UserError

PER_LOCALE = 500


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_embedded_catalog(tmp_path_factory.mktemp("catalog"), seed=3, products_per_locale=PER_LOCALE)


@pytest.fixture(scope="module")
def rows(paths: dict[str, Path]) -> dict[str, list[dict[str, Any]]]:
    return {name: [json.loads(line) for line in path.open(encoding="utf-8")] for name, path in paths.items()}


@pytest.fixture(scope="module")
def products(rows: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in rows["products"]}


def test_equal_seeds_give_equal_bytes(paths: dict[str, Path], tmp_path: Path) -> None:
    same = write_embedded_catalog(tmp_path / "same", seed=3, products_per_locale=PER_LOCALE)
    other = write_embedded_catalog(tmp_path / "other", seed=4, products_per_locale=PER_LOCALE)
    for name, path in paths.items():
        assert same[name].read_bytes() == path.read_bytes()
        assert other[name].read_bytes() != path.read_bytes()


def test_every_row_is_a_record_and_every_locale_has_its_number(products: dict[str, dict[str, Any]]) -> None:
    for row in products.values():
        parse_record(row, "product")
    assert collections.Counter(row["locale"] for row in products.values()) == {
        "en_US": PER_LOCALE,
        "de_DE": PER_LOCALE,
        "ar_AE": PER_LOCALE,
    }
    locales = collections.Counter(row["product_key"] for row in products.values())
    shared = sum(count for count in locales.values() if count > 1)
    assert shared / len(products) == pytest.approx(0.4)


def test_the_tables_refer_to_each_other_and_are_translated() -> None:
    assert len(PRODUCT_TYPES) >= 40
    for product_type in PRODUCT_TYPES.values():
        assert product_type.department in DEPARTMENTS
        assert set(product_type.attributes) <= set(ATTRIBUTES)
        assert len(product_type.attributes) >= 2
        assert product_type.complements
        assert set(product_type.complements) <= set(PRODUCT_TYPES) - {product_type.key}
    names = [product_type.name for product_type in PRODUCT_TYPES.values()]
    for language in range(3):
        assert len({name[language] for name in names}) == len(names)
    for attribute in ATTRIBUTES.values():
        assert all(phrase.count("{}") == 1 for phrase in attribute.phrases)
        assert len(set(attribute.values)) == len(attribute.values) >= 2


def test_duplicates_are_exactly_the_pairs_of_one_product_in_two_locales(
    rows: dict[str, list[dict[str, Any]]], products: dict[str, dict[str, Any]]
) -> None:
    planted = {frozenset((row["left"], row["right"])) for row in rows["duplicates"]}
    by_key = collections.defaultdict(list)
    for row in products.values():
        by_key[row["product_key"]].append(row["id"])
    expected = {frozenset((a, b)) for ids in by_key.values() for a in ids for b in ids if a != b}
    assert planted == expected
    assert len(planted) == len(rows["duplicates"])


def test_near_duplicates_differ_in_the_named_attribute_only(
    rows: dict[str, list[dict[str, Any]]], products: dict[str, dict[str, Any]]
) -> None:
    assert rows["near_duplicates"]
    for row in rows["near_duplicates"]:
        left, right = products[row["left"]], products[row["right"]]
        assert left["family"] == right["family"]
        assert left["product_key"] != right["product_key"]
        if left["language"] == right["language"]:
            language = ("en", "de", "ar").index(left["language"])
            shared = set(left["attributes"]) & set(right["attributes"])
            different = [name for name in shared if left["attributes"][name] != right["attributes"][name]]
            assert different == [ATTRIBUTES[row["attribute"]].name[language]]
            assert left["category"] == right["category"]


def test_grades_follow_from_the_products(
    rows: dict[str, list[dict[str, Any]]], products: dict[str, dict[str, Any]]
) -> None:
    results = collections.defaultdict(list)
    for row in rows["queries"]:
        assert products[row["product_id"]]["language"] == row["language"]
        results[row["query_id"], row["query"]].append((row["grade"], products[row["product_id"]]))
    for (_, query), graded in results.items():
        target = graded[0][1]
        assert graded[0][0] == "exact"
        assert len({product["id"] for _, product in graded}) == len(graded)
        for grade, product in graded:
            same_type = product["category"] == target["category"]
            assert same_type == (grade in ("exact", "substitute"))
            values = [v for name, v in target["attributes"].items() if name not in ("Series", "Serie", "السلسلة")]
            named = {value for value in values if value in query}
            if grade == "substitute":
                assert not named <= set(product["attributes"].values())
            if grade == "irrelevant":
                assert product["category"].split(" > ")[0] != target["category"].split(" > ")[0]
    assert {grade for graded in results.values() for grade, _ in graded} == {
        "exact",
        "substitute",
        "complement",
        "irrelevant",
    }


def test_clicks_fall_with_position_and_rise_with_relevance(rows: dict[str, list[dict[str, Any]]]) -> None:
    grades = {(row["query_id"], row["product_id"]): row["grade"] for row in rows["queries"]}
    by_position, by_grade = collections.defaultdict(list), collections.defaultdict(list)
    for row in rows["clicks"]:
        grade = grades[row["query_id"], row["product_id"]]
        by_grade[grade].append(row["clicked"])
        if grade == "exact":
            by_position["top" if row["position"] <= 2 else "below"].append(row["clicked"])
    rate = {name: sum(clicks) / len(clicks) for name, clicks in (by_position | by_grade).items()}
    assert rate["top"] > rate["below"]
    assert rate["exact"] > rate["substitute"] > rate["irrelevant"]


def test_also_bought_links_products_of_complementary_types(
    rows: dict[str, list[dict[str, Any]]], products: dict[str, dict[str, Any]]
) -> None:
    types = {name: product_type for product_type in PRODUCT_TYPES.values() for name in product_type.name}
    assert rows["also_bought"]
    for row in rows["also_bought"]:
        left, right = (types[products[row[side]]["category"].split(" > ")[1]] for side in ("left", "right"))
        assert right.key in left.complements


def test_a_split_by_family_parts_no_pair(
    paths: dict[str, Path], rows: dict[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    mapping = {"split_key": "family"}
    corpus = ingest_corpus("c", {"train": paths["products"]}, "product", mapping, None, 0.1, tmp_path)
    side = {}
    for language in corpus.languages:
        for split in ("train", "validation"):
            for file in corpus.files(language, split):
                side.update((json.loads(line)["id"], split) for line in file.open(encoding="utf-8"))
    assert corpus.rejected == 0
    assert len(side) == 3 * PER_LOCALE
    assert all(side[row["left"]] == side[row["right"]] for row in rows["duplicates"] + rows["near_duplicates"])


def test_the_default_catalog_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M5JAX_CACHE", str(tmp_path))
    directory = embedded_catalog_directory()
    before = (directory / "products.jsonl").stat().st_mtime_ns
    assert embedded_catalog_directory() == directory
    assert (directory / "products.jsonl").stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == [directory.name]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_tiny_catalog_works(tmp_path: Path, count: int) -> None:
    paths = write_embedded_catalog(tmp_path, products_per_locale=count)
    assert len(paths["products"].read_text(encoding="utf-8").splitlines()) == 3 * count


def test_wrong_arguments_are_user_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="allowed: 1 to"):
        write_embedded_catalog(tmp_path, products_per_locale=0)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        write_embedded_catalog(tmp_path / "file" / "catalog", products_per_locale=1)


def test_sessions_end_with_what_goes_with_their_type(rows: dict[str, list[dict[str, Any]]]) -> None:
    names = {language: index for index, language in enumerate(("en", "de", "ar"))}
    by_name = {(t.name[index], index): t for t in PRODUCT_TYPES.values() for index in range(3)}
    for row in rows["sessions"]:
        assert parse_record(row, "session")
        language = names[row["language"]]
        first, last = (by_name[row["queries"][place], language] for place in (0, -1))
        assert last.key in first.complements
    assert collections.Counter(row["language"] for row in rows["sessions"]) == dict.fromkeys(names, PER_LOCALE)


def test_slots_of_utterances_are_the_words_that_were_put_in(rows: dict[str, list[dict[str, Any]]]) -> None:
    values = {value for attribute in ATTRIBUTES.values() for translated in attribute.values for value in translated}
    spoken = {" ".join(value.split()) for value in values}
    types = {name for product_type in PRODUCT_TYPES.values() for name in product_type.name}
    for row in rows["utterances"]:
        assert parse_record(row, "utterance")
        for name, words in spans_of(zip(row["tokens"], row["tags"], strict=True)):
            if name == "feature":
                assert " ".join(words) in spoken
            elif name == "product_type":
                assert " ".join(words) in types
    intents = collections.Counter((row["language"], row["intent"]) for row in rows["utterances"])
    assert len(intents) == 18
    assert min(intents.values()) > PER_LOCALE / 12

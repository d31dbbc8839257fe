"""Labelled rows of a user's files as examples."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from m5jax.data.attributes import SEPARATORS, AttributeFormat
from m5jax.data.field_reader import BadRecord
from m5jax.errors import UserError
from m5jax.finetuning.examples import Columns, Example, RowReader, read_examples
from m5jax.finetuning.tasks import ClassificationTask, JointTask, PairLabels, RegressionTask, TwoTowerTask

PAIR = {"left": "red lamp", "right": "lamp", "label": 1}


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return str(path)


def read(
    directory: Path,
    rows: Sequence[Mapping[str, Any]],
    task: Any = TwoTowerTask(),  # noqa: B008 (immutable)
    columns: Columns = Columns(),  # noqa: B008 (immutable)
    name: str = "rows.jsonl",
    attributes: AttributeFormat = SEPARATORS,
) -> list[Example]:
    source = write_rows(directory / name, rows)
    return read_examples([source], task, columns, attributes, directory / "rejected.jsonl")


def rejected(directory: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (directory / "rejected.jsonl").read_text(encoding="utf-8").splitlines()]


def reader(row: Mapping[str, Any], **columns: Any) -> RowReader:
    return RowReader(row, Columns(**columns), SEPARATORS)


def test_strings_are_read_as_titles(tmp_path: Path) -> None:
    (example,) = read(tmp_path, [{"left": " red  lamp", "right": "a <b> lamp", "label": "yes"}])
    assert example == Example(
        f"{tmp_path}/rows.jsonl:1", ("<title> red lamp", "<title> a < b> lamp"), 1.0, (), "und", "", 1.0
    )
    assert not (tmp_path / "rejected.jsonl").exists()


def test_products_are_written_with_what_they_have(tmp_path: Path) -> None:
    left = {"title": "Lamp", "description": "A lamp.", "bullets": ["bright"], "category": "Home", "id": 7}
    right = {"title": "Lamp", "brand": "Lumo", "price": 3.5, "empty": ""}
    (example,) = read(tmp_path, [PAIR | {"left": left | {"attributes": {"color": "red"}}, "right": right}])
    assert example.texts == (
        "<title> Lamp<attribute> color<value> red<bullet> bright<description> A lamp.<category> Home",
        "<title> Lamp<attribute> brand<value> Lumo<attribute> price<value> 3.5",
    )


def test_products_are_written_in_the_format_of_the_run(tmp_path: Path) -> None:
    row = PAIR | {"left": {"title": "Lamp", "brand": "Lumo"}}
    (example,) = read(tmp_path, [row], attributes=AttributeFormat(style="plain"))
    assert example.texts[0] == "<title> Lamp brand Lumo"


def test_a_product_may_be_the_columns_that_begin_with_its_name(tmp_path: Path) -> None:
    row = {"left_title": "Lamp", "left_brand": "Lumo", "left_price": "", "left_id": "7", "right_title": "Red lamp"}
    (example,) = read(tmp_path, [row | {"label": "0"}], name="rows.csv")
    assert example.texts == ("<title> Lamp<attribute> brand<value> Lumo", "<title> Red lamp")
    assert example.label == 0.0


def test_such_columns_may_begin_with_another_name(tmp_path: Path) -> None:
    row = {"a_title": "Lamp", "a_brand": "Lumo", "b_title": "Red lamp", "same": "1"}
    columns = Columns({"left": "a", "right": "b", "label": "same"})
    (example,) = read(tmp_path, [row], columns=columns, name="rows.csv")
    assert example.texts == ("<title> Lamp<attribute> brand<value> Lumo", "<title> Red lamp")


def test_columns_of_other_names_and_nested_ones_are_mapped(tmp_path: Path) -> None:
    row = {"query": "lamp", "offer": {"name": "Red lamp"}, "relevance": 1, "market": "DE", "asked": 3, "item": 12}
    columns = Columns(
        {"left": "query", "right": "offer/name", "label": "relevance", "language": "market", "weight": "asked"}
        | {"group": "item"}
    )
    (example,) = read(tmp_path, [row], columns=columns)
    assert example.texts == ("<title> lamp", "<title> Red lamp")
    assert (example.label, example.language, example.weight, example.group) == (1.0, "de", 3.0, "12")


def test_fields_within_products_are_mapped(tmp_path: Path) -> None:
    row = PAIR | {"left": {"name": "Lamp", "text": "Bright."}}
    (example,) = read(tmp_path, [row], columns=Columns({"title": "name", "description": "text"}))
    assert example.texts[0] == "<title> Lamp<description> Bright."


def test_defaults_stand_for_what_rows_leave_empty(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"left": "a", "right": "b"}]
    rows.append(rows[0] | {"label": 0, "language": "fr", "weight": ""})
    columns = Columns(defaults={"language": "de", "label": 1, "weight": "2", "group": "g"})
    first, second = read(tmp_path, rows, JointTask(), columns)
    assert (first.label, first.language, first.weight, first.group) == (1.0, "de", 2.0, "g")
    assert (second.label, second.language, second.weight) == (0.0, "fr", 2.0)


def test_the_language_of_a_row_comes_before_the_default() -> None:
    assert reader({"language": "FR", "lang": "de"}).language == "fr"
    assert reader({"lang": "fr"}, defaults={"language": "en"}).language == "fr"
    assert reader({}, defaults={"language": "en"}).language == "en"
    assert reader({}).language == "und"


def test_a_missing_column_is_said_with_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"rows.jsonl:1: no column 'right'; name it with --column right=COLUMN; the "
        "columns are: left, title, label",
    ):
        read(tmp_path, [{"left": "lamp", "title": "x", "label": 1}])
    with pytest.raises(UserError, match="no column 'left' or 'items'"):
        read(tmp_path, [{"right": "lamp", "label": 1}], JointTask())
    with pytest.raises(UserError, match="no column 'label'"):
        read(tmp_path, [{"left": "lamp", "right": "x"}], JointTask())


def test_a_mapped_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"rows.jsonl:1 has no column 'scroe'; did you mean score"):
        read(tmp_path, [{"left": "a", "right": "b", "score": 1}], columns=Columns({"label": "scroe"}))


def test_each_file_needs_the_columns(tmp_path: Path) -> None:
    sources = [write_rows(tmp_path / "a.jsonl", [PAIR]), write_rows(tmp_path / "b.jsonl", [PAIR | {"left": None}] * 2)]
    sources.append(write_rows(tmp_path / "c.jsonl", [{"left": "a", "other": "b"}]))
    rejects = tmp_path / "rejected.jsonl"
    with pytest.raises(UserError, match="c.jsonl:1: no column 'right'"):
        read_examples(sources, TwoTowerTask(), Columns(), SEPARATORS, rejects)
    with pytest.raises(UserError, match="c.jsonl:1 has no column 'label'; allowed: left, other"):
        read_examples(sources, TwoTowerTask(), Columns({"label": "label"}), SEPARATORS, rejects)


def test_a_field_that_no_example_has_is_refused(tmp_path: Path) -> None:
    for columns in (Columns({"lfet": "a"}), Columns(defaults={"lfet": "a"})):
        with pytest.raises(UserError, match="unknown field of these examples 'lfet'; did you mean left"):
            read(tmp_path, [PAIR], columns=columns)


BAD = [
    ({"right": ""}, "right is missing or empty"),
    ({"right": None}, "right is missing or empty"),
    ({"right": {"brand": ""}}, "right has no title, description or attribute"),
    ({"label": 2}, "label 2 is outside 0 to 1"),
    ({"label": "perhaps"}, "label 'perhaps' is no number, and no yes or no"),
    ({"label": "inf"}, "label is inf"),
    ({"weight": -1}, "weight is -1.0, 0 or more is needed"),
    ({"language": "english please"}, "language 'english please' is not a language code such as en or pt-br"),
]


@pytest.mark.parametrize(("changes", "reason"), BAD)
def test_a_bad_row_is_written_down_and_left_out(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    rows = [PAIR] * 100 + [PAIR | changes]
    assert len(read(tmp_path, rows)) == 100
    assert rejected(tmp_path) == [{"location": f"{tmp_path}/rows.jsonl:101", "reason": reason}]


def test_a_label_that_is_needed_may_not_be_missing(tmp_path: Path) -> None:
    assert len(read(tmp_path, [PAIR] * 100 + [PAIR | {"label": None}], JointTask())) == 100
    assert rejected(tmp_path)[0]["reason"] == "label is missing or empty"


def test_too_many_bad_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"2 of the first 100 records are bad .*rows.jsonl:99: label 7 is outside"):
        read(tmp_path, [PAIR] * 98 + [PAIR | {"label": 7}] * 2)
    with pytest.raises(UserError, match="1 of the first 1 records are bad"):
        read(tmp_path, [PAIR | {"label": 7}])


def test_files_are_read_in_their_order(tmp_path: Path) -> None:
    sources = [write_rows(tmp_path / f"{name}.jsonl", [PAIR | {"left": name}]) for name in "ba"]
    examples = read_examples(sources, TwoTowerTask(), Columns(), SEPARATORS, tmp_path / "rejected.jsonl")
    assert [example.texts[0] for example in examples] == ["<title> b", "<title> a"]
    globbed = read_examples([f"{tmp_path}/?.jsonl"], TwoTowerTask(), Columns(), SEPARATORS, tmp_path / "r.jsonl")
    assert [example.texts[0] for example in globbed] == ["<title> a", "<title> b"]


@pytest.mark.parametrize(
    ("value", "number"),
    [(1, 1.0), (0.25, 0.25), ("3.5", 3.5), (True, 1.0), (False, 0.0), ("Yes", 1.0), (" no ", 0.0)]
    + [("duplicate", 1.0), ("different", 0.0), ("TRUE", 1.0), ("-2", -2.0)],
)
def test_numbers_and_yes_or_no_are_numbers(value: Any, number: float) -> None:
    assert reader({"label": value}).number("label") == number


@pytest.mark.parametrize(("value", "label"), [(3, "3"), (3.0, "3"), (2.5, "2.5"), (" Home ", "Home"), (True, "true")])
def test_labels_are_texts(value: Any, label: str) -> None:
    assert reader({"label": value}).label("label") == label


@pytest.mark.parametrize("value", [None, "", "  ", float("nan")])
def test_no_label_is_none(value: Any) -> None:
    with pytest.raises(BadRecord, match="label is missing or empty"):
        reader({"label": value}).label("label")


def test_items_are_a_list() -> None:
    assert reader({"items": ["a", {"title": "b"}]}).items("items") == ["a", {"title": "b"}]
    with pytest.raises(BadRecord, match="items is of type str, a list is needed"):
        reader({"items": "a, b"}).items("items")


def test_a_row_may_be_the_product_itself_and_its_label_is_not_read(tmp_path: Path) -> None:
    row = {"title": "Lamp", "color": "red", "label": "Home", "id": 3, "language": "en"}
    (example,) = read(tmp_path, [row], ClassificationTask())
    assert example.texts == ("<title> Lamp<attribute> color<value> red",)
    assert (example.label, example.group, example.weight) == ("Home", "", 1.0)


def test_a_weight_and_a_group_of_the_product_itself_are_attributes_unless_they_are_named(tmp_path: Path) -> None:
    row = {"title": "Lamp", "weight": "1.5 kg", "group": "g", "label": "Home", "asked": 2}
    (example,) = read(tmp_path, [row], ClassificationTask(), Columns({"weight": "asked"}))
    assert "<attribute> weight<value> 1.5 kg<attribute> group<value> g" in example.texts[0]
    assert (example.group, example.weight) == ("", 2.0)
    (example,) = read(
        tmp_path, [row | {"weight": 3}], ClassificationTask(), Columns({"weight": "weight", "group": "group"})
    )
    assert example.texts == ("<title> Lamp<attribute> asked<value> 2",)
    assert (example.group, example.weight) == ("g", 3.0)


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ({"title": "Lamp", "category": "Home"}, "category"),
        ({"title": "Lamp", "brand": "Home"}, "brand"),
        ({"title": "Lamp", "attributes": {"color": "red", "brand": "Home"}}, "attributes/brand"),
        ({"title": "Lamp", "attributes/brand": "Home", "attributes": {"color": "red"}}, "attributes/brand"),
    ],
)
@pytest.mark.parametrize("task", [ClassificationTask(), RegressionTask()])
def test_a_label_is_not_read_in_whatever_column_it_is(
    row: dict[str, Any], column: str, task: Any, tmp_path: Path
) -> None:
    text = json.dumps(row).replace("Home", "17")
    (example,) = read(tmp_path, [json.loads(text)], task, Columns({"label": column}))
    assert example.label in ("17", 17.0)
    assert "17" not in example.texts[0]
    assert example.texts[0].startswith("<title> Lamp")
    assert ("red" in example.texts[0]) == ("red" in text)


def test_a_text_comes_before_the_product_that_its_row_is(tmp_path: Path) -> None:
    (example,) = read(tmp_path, [{"text": "a lamp", "title": "Lamp", "label": "x"}], ClassificationTask())
    assert example.texts == ("<title> a lamp",)
    (example,) = read(
        tmp_path, [{"body": "a lamp", "title": "Lamp", "label": "x"}], ClassificationTask(), Columns({"text": "body"})
    )
    assert example.texts == ("<title> a lamp",)


def test_two_examples_of_the_same_texts_have_one_key() -> None:
    def key(*texts: str, **others: Any) -> str:
        return Example("here", texts, **others).key

    assert key("<title> Red  Lamp", "b") == key("<title> red lamp ", "B", label=1.0, group="g")
    assert key("ﬁne") == key("fine")
    assert len({key("a", "b"), key("b", "a"), key("ab"), key("a b"), key("a")}) == 5


def test_a_text_may_be_the_columns_that_begin_with_its_name(tmp_path: Path) -> None:
    row = {"text_title": "Lamp", "text_brand": "Lumo", "label": "x"}
    (example,) = read(tmp_path, [row], ClassificationTask())
    assert example.texts == ("<title> Lamp<attribute> brand<value> Lumo",)


@pytest.mark.parametrize(
    ("row", "texts"),
    [
        ({"left": "a", "right": "b"}, ("<title> a", "<title> b")),
        ({"left_title": "a", "right_title": "b"}, ("<title> a", "<title> b")),
        ({"text": "a"}, ("<title> a",)),
        ({"title": "a", "color": "b"}, ("<title> a<attribute> color<value> b",)),
        ({"text": "a", "left": "", "right": ""}, ("<title> a",)),
    ],
)
def test_a_number_is_of_a_text_a_product_or_a_pair(row: dict[str, Any], texts: tuple[str, ...], tmp_path: Path) -> None:
    (example,) = read(tmp_path, [row | {"label": 2}], RegressionTask(), name="rows.csv")
    assert example.texts == texts


def test_a_pair_without_a_side_is_no_text(tmp_path: Path) -> None:
    rows = [PAIR] * 200 + [PAIR | {"left": ""}, PAIR | {"right": ""}]
    assert len(read(tmp_path, rows, RegressionTask())) == 200
    assert [row["reason"] for row in rejected(tmp_path)] == ["left is missing or empty", "right is missing or empty"]


def test_grades_are_within_their_range(tmp_path: Path) -> None:
    task = TwoTowerTask(PairLabels(1.0, 4.0, 3.0))
    rows = [PAIR | {"label": grade} for grade in (1, 2.5, 4)] + [{"left": "a", "right": "b"}]
    assert [example.label for example in read(tmp_path, rows, task)] == [1.0, 2.5, 4.0, 4.0]

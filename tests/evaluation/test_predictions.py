"""Predictions read back as written; a row that lacks something, or a foreign file, is one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m5jax.errors import UserError
from m5jax.evaluation.prediction_columns import COLUMNS, KINDS
from m5jax.evaluation.predictions import Predictions, make_predictions, read_predictions, write_predictions
from tests.evaluation.evaluation_examples import COLUMNS_OF


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_of_each_kind_read_back(tmp_path: Path, kind: str) -> None:
    written = make_predictions(kind, "f00d", COLUMNS_OF[kind])
    assert write_predictions(tmp_path, written) == tmp_path / "predictions.parquet"
    read = read_predictions(tmp_path)
    assert read == written
    assert (read.kind, read.fingerprint) == (kind, "f00d")
    assert read.table.to_pydict() == COLUMNS_OF[kind]
    assert list(read.table.column_names) == list(COLUMNS[kind])


@given(
    rows=st.dictionaries(
        st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(["de", "en"])),
        st.tuples(st.booleans(), st.floats(allow_nan=False, allow_infinity=False)),
        min_size=1,
    )
)
def test_any_pairs_read_back(tmp_path_factory: pytest.TempPathFactory, rows: dict[Any, Any]) -> None:
    folder = tmp_path_factory.mktemp("predictions")
    units, groups = zip(*rows, strict=True)
    labels, scores = zip(*rows.values(), strict=True)
    columns = {"unit": units, "group": groups, "label": np.array(labels, np.int8), "score": scores}
    written = make_predictions("pairs", "f", columns | {"predicted": np.array(scores) > 0})
    write_predictions(folder, written)
    assert read_predictions(folder).table.equals(written.table)


def test_settings_read_back_and_are_of_the_kind(tmp_path: Path) -> None:
    settings = {"cutoffs": [1, 10], "relevant_from": 0.5, "gain": "exponential"}
    written = make_predictions("search", "f", COLUMNS_OF["search"], settings)
    write_predictions(tmp_path, written)
    assert read_predictions(tmp_path).settings == settings
    with pytest.raises(UserError, match="unknown setting of search 'gains'; did you mean gain"):
        make_predictions("search", "f", COLUMNS_OF["search"], {"gains": "linear"})
    with pytest.raises(UserError, match="unknown setting of pairs 'gain'"):
        make_predictions("pairs", "f", COLUMNS_OF["pairs"], {"gain": "linear"})


@pytest.mark.parametrize("wrong", [{"cutoffs": 10}, {"cutoffs": [1.5]}, {"relevant_from": "1"}, {"gain": None}])
def test_settings_of_other_types_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="settings of search are .*; allowed: cutoffs"):
        make_predictions("search", "f", COLUMNS_OF["search"], wrong)


def test_columns_of_other_types_are_one_line() -> None:
    for label in ([0, 1, 300], ["a", "b", "c"], [0]):
        with pytest.raises(UserError, match="the columns are no predictions of kind pairs") as caught:
            make_predictions("pairs", "f", COLUMNS_OF["pairs"] | {"label": label})
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"unknown column of pairs 'scores'; did you mean score\?"):
        make_predictions("pairs", "f", COLUMNS_OF["pairs"] | {"scores": [0]})


def test_an_unknown_kind_and_an_empty_fingerprint_are_refused() -> None:
    with pytest.raises(UserError, match="unknown kind of predictions 'pair'; did you mean pairs"):
        make_predictions("pair", "f", {})
    with pytest.raises(UserError, match="unknown kind of predictions"):
        Predictions("pair", "f", pa.table({}))
    with pytest.raises(UserError, match="fingerprint"):
        make_predictions("pairs", "", COLUMNS_OF["pairs"])


NO_KIND = {b"m5jax": b'{"format": "m5jax predictions", "version": 1}'}


def test_a_foreign_or_damaged_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    with pytest.raises(UserError, match=r"predictions\.parquet holds no predictions"):
        read_predictions(tmp_path)
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(UserError, match=r"predictions\.parquet holds no predictions") as caught:
        read_predictions(tmp_path)
    assert "\n" not in str(caught.value)
    table = make_predictions("pairs", "f", COLUMNS_OF["pairs"]).table
    for metadata in (None, {b"m5jax": b"[]"}, {b"m5jax": b"{"}, {b"m5jax": b'{"format": "other"}'}, NO_KIND):
        pq.write_table(table.replace_schema_metadata(metadata), path)
        with pytest.raises(UserError, match=r"predictions\.parquet holds no predictions"):
            read_predictions(tmp_path)
    newer = {
        b"m5jax": b'{"format": "m5jax predictions", "version": 2, "kind": "pairs", "fingerprint": "f", "settings": {}}'
    }
    pq.write_table(table.replace_schema_metadata(newer), path)
    with pytest.raises(UserError, match="version 2; allowed: 1"):
        read_predictions(tmp_path)
    write_predictions(tmp_path, Predictions("pairs", "f", table))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"predictions\.parquet holds no predictions"):
        read_predictions(tmp_path)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot write"):
        write_predictions(tmp_path / "missing", make_predictions("pairs", "f", COLUMNS_OF["pairs"]))

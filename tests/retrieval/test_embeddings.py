from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m5jax.errors import UserError
from m5jax.retrieval.embeddings import blocks_of, check_metric, embedding_matrix, read_blocks, row_count, unit_rows


def random_rows(count: int, width: int = 3) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, width)).astype(np.float32)


@pytest.mark.parametrize("size", [1, 3, 4, 10, 50])
def test_a_matrix_a_map_a_file_and_matrices_in_turn_give_the_same_blocks(tmp_path: Path, size: int) -> None:
    rows = random_rows(10)
    np.save(tmp_path / "e.npy", rows)
    sources = {
        "matrix": rows,
        "map": np.load(tmp_path / "e.npy", mmap_mode="r"),
        "npy": tmp_path / "e.npy",
    }
    for name, source in sources.items():
        blocks = [block.copy() for block in read_blocks(source, size)]
        assert [len(block) for block in blocks] == [min(size, 10 - i) for i in range(0, 10, size)], name
        np.testing.assert_array_equal(np.concatenate(blocks), rows)
        assert row_count(source) == 10
    blocks = list(read_blocks(iter([rows[:7], rows[7:7], rows[7:]]), size))
    assert max(map(len, blocks)) <= size
    np.testing.assert_array_equal(np.concatenate(blocks), rows)
    assert row_count(iter([rows])) is None


def test_half_and_double_precision_are_read_as_float32() -> None:
    rows = np.array([[0.5, 2.0]], np.float16)
    for dtype in (np.float16, np.float64):
        (block,) = read_blocks(rows.astype(dtype), 5)
        assert block.dtype == np.float32
        np.testing.assert_array_equal(block, rows)


def test_rows_that_are_not_finite_and_other_widths_are_refused() -> None:
    rows = random_rows(6)
    rows[4, 1] = np.nan
    with pytest.raises(UserError, match="documents from 3 on: row 1 of 3 is not finite"):
        list(read_blocks(rows, 3))
    with pytest.raises(UserError, match="documents from 2 on have 4 values, those before 3"):
        list(read_blocks([random_rows(2), random_rows(2, 4)], 10))
    with pytest.raises(UserError, match=r"int64 \[2, 2\]; allowed: floats \[rows, width\]"):
        list(read_blocks(np.ones((2, 2), np.int64), 10))
    with pytest.raises(UserError, match=r"queries are float64 \[3\]"):
        embedding_matrix(np.ones(3), "queries")
    with pytest.raises(UserError, match="blocks of 0 documents"):
        list(read_blocks(rows, 0))
    with pytest.raises(UserError, match="blocks of 0 queries"):
        list(blocks_of(3, 0))
    with pytest.raises(UserError, match="did you mean cosine"):
        check_metric("cosin")


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no .npy file of embeddings"):
        list(read_blocks(tmp_path / "absent.npy", 2))
    (tmp_path / "not.npy").write_text("no", encoding="utf-8")
    with pytest.raises(UserError, match="no .npy file of embeddings"):
        row_count(tmp_path / "not.npy")
    np.save(tmp_path / "flat.npy", np.ones(4, np.float32))
    with pytest.raises(UserError, match=r"holds an array \[4\]"):
        row_count(tmp_path / "flat.npy")


@given(st.integers(1, 9), st.integers(1, 9), st.floats(1e-30, 1e30))
def test_unit_rows_are_as_long_as_one_whatever_their_scale(count: int, width: int, scale: float) -> None:
    rows = (random_rows(count, width) * scale).astype(np.float32)
    unit = unit_rows(rows)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(unit.astype(np.float64), axis=1), 1.0, rtol=1e-6)
    for index in range(count):  # alone and among others
        np.testing.assert_array_equal(unit_rows(rows[index : index + 1]), unit[index : index + 1])


def test_rows_of_zeros_stay() -> None:
    np.testing.assert_array_equal(unit_rows(np.zeros((2, 3), np.float32)), np.zeros((2, 3)))

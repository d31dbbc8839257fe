"""Held-out rows on disk: refused where they are damaged or of another definition."""

from pathlib import Path

import numpy as np
import pytest

from m5jax.data.held_out_rows import HeldOutRows, read_held_out, write_held_out
from m5jax.errors import UserError

ROWS = HeldOutRows({"inputs": np.arange(12, dtype=np.int32).reshape(3, 4)}, np.arange(9))


def test_batches_are_filled_up_with_zeros() -> None:
    first, last = ROWS.batches(2)
    np.testing.assert_array_equal(first["inputs"], [[0, 1, 2, 3], [4, 5, 6, 7]])
    np.testing.assert_array_equal(last["inputs"], [[8, 9, 10, 11], [0, 0, 0, 0]])


def test_other_definitions_are_refused_with_the_difference(tmp_path: Path) -> None:
    write_held_out(tmp_path, {"en": ROWS}, {"length": 4, "tasks": {"en": ("a",)}})
    read = read_held_out(tmp_path, {"length": 4, "tasks": {"en": ("a",)}})["en"]
    np.testing.assert_array_equal(read.rows["inputs"], ROWS.rows["inputs"])
    np.testing.assert_array_equal(read.target_counts, ROWS.target_counts)
    with pytest.raises(UserError, match="another definition: length was 4, is 5"):
        read_held_out(tmp_path, {"length": 5, "tasks": {"en": ("a",)}})


def test_damaged_directories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no held-out rows"):
        read_held_out(tmp_path)
    write_held_out(tmp_path, {"en": ROWS}, {})
    (file,) = tmp_path.glob("*.npz")
    whole = file.read_bytes()
    file.write_bytes(whole[:-7])
    with pytest.raises(UserError, match=rf"has {len(whole) - 7} bytes of {len(whole)}"):
        read_held_out(tmp_path)
    file.write_bytes(b"x" * len(whole))
    with pytest.raises(UserError, match="cannot be read"):
        read_held_out(tmp_path)
    file.unlink()
    with pytest.raises(UserError, match="is missing"):
        read_held_out(tmp_path)

"""Every line stays, in an order that does not follow the input's."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m5jax.data import shuffle_lines as module
from m5jax.data.shuffle_lines import shuffle_lines


@given(
    lines=st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"")), max_size=50),
    at_once=st.integers(1, 40),
)
def test_the_lines_are_those_of_the_file(lines: list[bytes], at_once: int) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as context:
        context.setattr(module, "_BYTES_AT_ONCE", at_once)
        path = Path(directory) / "lines"
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        shuffle_lines(path, "seed")
        assert sorted(path.read_bytes().split(b"\n")[:-1]) == sorted(lines)
        assert [file.name for file in Path(directory).iterdir()] == ["lines"]


def test_the_order_is_random_and_follows_from_the_seed(tmp_path: Path) -> None:
    def shuffled(seed: str) -> list[int]:
        path = tmp_path / "numbers"
        path.write_text("".join(f"{number}\n" for number in range(5_000)))
        shuffle_lines(path, seed)
        return [int(line) for line in path.read_text().splitlines()]

    order = shuffled("a")
    assert order == shuffled("a") != shuffled("b")
    # The rank correlation of two random orders has a standard deviation of 1/sqrt(n - 1).
    assert abs(np.corrcoef(order, np.arange(5_000))[0, 1]) < 4 / np.sqrt(4_999)


def test_a_file_stays_as_it_was_where_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"a\nb\n")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        shuffle_lines(path, "seed")
    assert path.read_bytes() == b"a\nb\n"

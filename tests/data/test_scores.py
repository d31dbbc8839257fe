"""Files of scores: read back as written, whole or not at all, and told from others."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from m5jax.data.scores import ScoreWriter, read_scores, record_keys, scores_fingerprint
from m5jax.errors import UserError


def write(path: Path, losses: list[float], description: dict[str, str] | None = None) -> None:
    with ScoreWriter(path, description or {}) as writer:
        for number, loss in enumerate(losses):
            writer.write(np.array([number], np.uint64), np.array([number % 3], np.int32), np.array([loss]))


def test_scores_are_read_back_with_what_they_follow_from(tmp_path: Path) -> None:
    write(tmp_path / "new" / "scores.parquet", [1.5, np.nan, 0.25], {"task": "tiny_en_mlm"})
    scores = read_scores(tmp_path / "new" / "scores.parquet")
    np.testing.assert_array_equal(scores.keys, [0, 1, 2])
    np.testing.assert_array_equal(scores.losses, [1.5, np.nan, 0.25])
    assert scores.description == {"task": "tiny_en_mlm"}
    table = pq.read_table(tmp_path / "new" / "scores.parquet")
    assert table["predicted_tokens"].to_pylist() == [0, 1, 2]
    assert table["loss"].null_count == 1


def test_keys_are_hashes_of_lines() -> None:
    lines = [b"one", "zwölf".encode(), b""]
    expected = [int.from_bytes(hashlib.blake2b(line, digest_size=8).digest(), "little") for line in lines]
    keys = record_keys(lines)
    assert keys.dtype == np.uint64
    assert keys.tolist() == expected


def test_equal_keys_have_equal_losses(tmp_path: Path) -> None:
    with ScoreWriter(tmp_path / "scores.parquet", {}) as writer:
        writer.write(np.array([7, 3, 7], np.uint64), np.ones(3, np.int32), np.array([1.0, 2.0, 1.0000001]))
    losses = read_scores(tmp_path / "scores.parquet").losses
    assert losses[0] == losses[2]


def test_the_fingerprint_follows_the_content(tmp_path: Path) -> None:
    for name, losses in {"a": [1.0], "b": [1.0], "c": [2.0]}.items():
        write(tmp_path / name, losses)
    prints = {name: scores_fingerprint(tmp_path / name) for name in "abc"}
    assert prints["a"] == prints["b"] != prints["c"]


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    def fail() -> None:
        with ScoreWriter(tmp_path / "scores.parquet", {}) as writer:
            writer.write(np.ones(1, np.uint64), np.ones(1, np.int32), np.ones(1))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not list(tmp_path.iterdir())


def test_what_holds_no_scores_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    with pytest.raises(UserError, match="cannot read the scores"):
        scores_fingerprint(path)
    with pytest.raises(UserError, match="holds no scores"):
        read_scores(path)
    path.write_text("no parquet")
    with pytest.raises(UserError, match="holds no scores"):
        read_scores(path)
    pq.write_table(pa.table({"key": pa.array([1], pa.uint64()), "score": [1.0]}), path)
    with pytest.raises(UserError, match="holds no scores"):
        read_scores(path)
    pq.write_table(pa.table({"key": pa.array([1], pa.uint64()), "loss": [-1.0]}), path)
    with pytest.raises(UserError, match="a loss that is negative or infinite"):
        read_scores(path)
    with pytest.raises(UserError, match=r"exists; remove it or choose another --output"):
        ScoreWriter(path, {})
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        ScoreWriter(tmp_path / "file" / "scores.parquet", {})

"""Deals lines into shards by language and split, with few open files however many languages there are."""

from collections.abc import Callable
from pathlib import Path

from m5jax.data.shuffle_lines import shuffle_lines

_BUFFERED_BYTES = 1 << 18


class ShardWriter:
    """Appends lines to `paths(directory, language, split, shards)`, round robin, and counts them.

    Every shard of a (language, split) exists after `finish`, empty ones too, its lines in a random order that only the
    lines change: inputs may be sorted, and readers that take the first so many shall get a fair sample. Lets OSError
    through.
    """

    def __init__(self, directory: Path, shards: int, paths: Callable[[Path, str, str, int], list[Path]]) -> None:
        self._directory, self._shards, self._paths = directory, shards, paths
        self._buffers: dict[tuple[str, str], list[bytearray]] = {}
        self.counts: dict[str, dict[str, dict[str, int]]] = {}

    def write(self, language: str, split: str, line: str) -> None:
        """Adds one line, given without its line end."""
        data = line.encode("utf-8") + b"\n"
        count = self.counts.setdefault(language, {}).setdefault(split, {"records": 0, "bytes": 0})
        if (language, split) not in self._buffers:
            self._buffers[language, split] = [bytearray() for _ in range(self._shards)]
        index = count["records"] % self._shards
        buffer = self._buffers[language, split][index]
        buffer += data
        count["records"] += 1
        count["bytes"] += len(data)
        if len(buffer) >= _BUFFERED_BYTES:
            self._append(self._paths(self._directory, language, split, self._shards)[index], buffer)

    def finish(self) -> None:
        """Writes what is still held back, and shuffles each shard."""
        for (language, split), buffers in self._buffers.items():
            for path, buffer in zip(self._paths(self._directory, language, split, self._shards), buffers, strict=True):
                self._append(path, buffer)
                shuffle_lines(path, seed=f"{language}/{path.name}")

    def _append(self, path: Path, buffer: bytearray) -> None:
        path.parent.mkdir(exist_ok=True)
        with path.open("ab") as file:
            file.write(buffer)
        buffer.clear()

"""The lines of a file in a random order."""

import mmap
from pathlib import Path

import numpy as np

_BYTES_AT_ONCE = 1 << 24
_BUFFERED_BYTES = 1 << 20


def shuffle_lines(path: Path, seed: str) -> None:
    """Puts the lines of a file in a random order that follows from `seed` and their number.

    The file is mapped into memory, not read into it: 16 bytes a line are. Where this stops early the file is as it was.
    Lets OSError through.
    """
    if path.stat().st_size == 0:
        return
    shuffled = path.with_name(f"{path.name}.shuffled")
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        shuffled.open("wb", buffering=_BUFFERED_BYTES) as output,
    ):
        ends = _line_ends(content)
        for line in np.random.default_rng(list(seed.encode("utf-8"))).permutation(len(ends)):
            output.write(content[ends[line - 1] if line else 0 : ends[line]])
    shuffled.replace(path)


def _line_ends(content: mmap.mmap) -> np.ndarray:
    """Returns int64 [lines]: where each line ends, its line feed included."""
    parts = [
        np.flatnonzero(np.frombuffer(content[start : start + _BYTES_AT_ONCE], np.uint8) == ord("\n")) + start + 1
        for start in range(0, len(content), _BYTES_AT_ONCE)
    ]
    return np.concatenate(parts)

"""Bad records of a large input: counted, written down with their reason, tolerated up to a stated fraction."""

import json
from pathlib import Path
from types import TracebackType
from typing import TextIO

from m5jax.errors import UserError

# Below this many records a fraction says little: one bad record among the first ten need not mean a wrong file.
MINIMUM_RECORDS = 100


class RejectLog:
    """Counts good and bad records and writes the bad ones to `path` as lines of `{"location", "reason"}`.

    The file is made with the first bad record; one that an earlier pass left is removed at the start. Use it as a
    context manager: leaving it without an exception makes the final check.

    Raises:
        UserError: more than `limit_fraction` of the records read are bad (looked at with each bad record once 100 were
            read, and at the end), or `path` cannot be written.
    """

    def __init__(self, path: Path, limit_fraction: float = 0.01) -> None:
        if not 0.0 <= limit_fraction <= 1.0:
            raise UserError(f"the fraction of records that may be rejected is {limit_fraction}, allowed: 0 to 1")
        self.path = path
        self.limit_fraction = limit_fraction
        self.accepted = 0
        self.rejected = 0
        self._first = ""
        self._file: TextIO | None = None
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise self._write_error(error) from error

    def accept(self) -> None:
        """Counts one good record."""
        self.accepted += 1

    def reject(self, location: str, reason: str) -> None:
        """Writes one bad record down; raises UserError where that is one too many."""
        line = json.dumps({"location": location, "reason": reason}, ensure_ascii=False)
        try:
            if self._file is None:
                self._file = self.path.open("w", encoding="utf-8", errors="backslashreplace")
            self._file.write(f"{line}\n")
        except OSError as error:
            raise self._write_error(error) from error
        self.rejected += 1
        self._first = self._first or f"{location}: {reason}"
        if self.accepted + self.rejected >= MINIMUM_RECORDS:
            self.check()

    def check(self) -> None:
        """Raises UserError where the bad records so far are more than the stated fraction."""
        read = self.accepted + self.rejected
        if self.rejected > self.limit_fraction * read:
            raise UserError(
                f"{self.rejected} of the first {read} records are bad ({self.rejected / read:.1%}, allowed: "
                f"{self.limit_fraction:.1%}); the first: {self._first}; all of them: {self.path}"
            )

    def __enter__(self) -> "RejectLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._file is not None:
                self._file.close()
        except OSError as close_error:
            raise self._write_error(close_error) from close_error
        if kind is None:
            self.check()

    def _write_error(self, error: OSError) -> UserError:
        return UserError(f"cannot write {self.path}: {error.strerror or error}")

"""Which ids of an input were seen, and where, in bounded memory."""

import sqlite3
from hashlib import blake2b
from pathlib import Path
from types import TracebackType

from m5jax.data.records import ProductRecord, Record
from m5jax.data.rejected import RejectLog


class SeenIds:
    """Remembers 64-bit hashes of keys with the location of each key's first occurrence, on disk past a small cache.

    Two different keys of n share a hash with a probability of about n² / 2⁶⁵: under 0.03% for a hundred million. Lets
    sqlite3.Error through (a full disk).
    """

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        # Nothing here outlives the pass: no journal, no waiting for the disk, one transaction.
        self._database.execute("PRAGMA journal_mode=OFF")
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.execute("CREATE TABLE seen (hash INTEGER PRIMARY KEY, location TEXT NOT NULL)")
        self._database.execute("BEGIN")

    def first_location(self, key: str, location: str) -> str | None:
        """Returns where `key` was seen before; None, and remembers `location`, where it was not."""
        number = int.from_bytes(blake2b(key.encode("utf-8"), digest_size=8).digest(), "big", signed=True)
        inserted = self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (number, location)).rowcount
        if inserted:
            return None
        return self._database.execute("SELECT location FROM seen WHERE hash = ?", (number,)).fetchone()[0]

    def rejects(self, record: Record, location: str, log: RejectLog) -> bool:
        """Whether a record is a product whose id came before in its language, which is then written to `log`."""
        if not isinstance(record, ProductRecord):
            return False
        first = self.first_location(f"{record.language}\n{record.id}", location)
        if first is None:
            return False
        log.reject(location, f"id {record.id!r} in {record.language} came before, at {first}")
        return True

    def __enter__(self) -> "SeenIds":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._database.close()

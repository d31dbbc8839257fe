"""Rows of one input completed by rows of others, as where labels name products by their id."""

import contextlib
import dataclasses
import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from m5jax.data.field_reader import BadRecord, column_value
from m5jax.data.readers import read_rows
from m5jax.data.rejected import RejectLog
from m5jax.errors import UserError

Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Join:
    """A field of a row that is a row of another input.

    Attributes:
        field: where the found row is put.
        columns: of the row, which together name the other one.
        source: what `read_rows` takes.
        key: columns of the other input, compared with `columns` in their order; the first of equal ones counts.

    Raises:
        UserError: there are not as many columns as keys.
    """

    field: str
    columns: tuple[str, ...]
    source: str | Path | Sequence[str | Path]
    key: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.columns or len(self.columns) != len(self.key):
            raise UserError(
                f"Join of {self.field}: columns {self.columns} are compared with {self.key}; as many needed"
            )


@contextlib.contextmanager
def joined(joins: Sequence[Join], rejects: RejectLog, directory: Path) -> Iterator[Callable[[Row], Row]]:
    """Yields a function from a row to the row with the fields of all `joins`, which raises BadRecord where one is not
    found. The other inputs lie in a temporary database in `directory`, each once, so memory does not grow with them.

    Raises:
        UserError: as `read_rows`.
    """
    with tempfile.TemporaryDirectory(dir=directory) as temporary, contextlib.ExitStack() as stack:
        tables: dict[str, _Table] = {}
        for join in joins:
            name = repr((join.source, join.key))
            if name not in tables:
                table = _Table(Path(temporary) / f"{len(tables)}.sqlite")
                tables[name] = stack.enter_context(contextlib.closing(table))
                for _, row in read_rows(join.source, on_bad=rejects.reject, columns=join.key):
                    if (key := _key(row, join.key)) is not None:
                        table.add(key, row)

        def complete(row: Row) -> Row:
            found = {}
            for join in joins:
                key = _key(row, join.columns)
                if key is None:
                    raise BadRecord(f"{' or '.join(join.columns)}, which names the {join.field}, is missing")
                found[join.field] = tables[repr((join.source, join.key))].find(key)
                if found[join.field] is None:
                    raise BadRecord(f"no {join.field} is known for {', '.join(key)}"[:200])
            return {**row, **found}

        yield complete


def _key(row: Row, columns: Sequence[str]) -> list[str] | None:
    """Returns the values of the columns; None where one is missing."""
    values = [column_value(row, column) for column in columns]
    return None if any(value is None or value == "" for value in values) else [str(value) for value in values]


class _Table:
    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        # Nothing here outlives the pass: no journal, no waiting for the disk, one transaction.
        self._database.execute("PRAGMA journal_mode=OFF")
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.execute("CREATE TABLE rows (key TEXT PRIMARY KEY, row TEXT NOT NULL) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def add(self, key: list[str], row: Row) -> None:
        line = json.dumps(row, ensure_ascii=True, default=str)
        self._database.execute("INSERT OR IGNORE INTO rows VALUES (?, ?)", (json.dumps(key), line))

    def find(self, key: list[str]) -> Row | None:
        found = self._database.execute("SELECT row FROM rows WHERE key = ?", (json.dumps(key),)).fetchone()
        return json.loads(found[0]) if found else None

    def close(self) -> None:
        self._database.close()

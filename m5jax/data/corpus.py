"""One streaming pass over any input: validates, rejects, splits, and writes the canonical shards that training reads.

    <cache>/<name>-<fingerprint>/corpus.json                                counts; written last
    <cache>/<name>-<fingerprint>/<language>/<split>-0000k-of-0000n.jsonl    records, dealt and shuffled
    <cache>/<name>-<fingerprint>.rejected.jsonl                             bad records with their reason, where any

The directory appears under its final name only when it is whole. A second call with the same sources, mapping and
format reads corpus.json only.
"""

import contextlib
import dataclasses
import functools
import hashlib
import inspect
import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from m5jax.data.cache import cache_directory
from m5jax.data.join import Join, joined
from m5jax.data.read_records import Rewrite, read_records
from m5jax.data.readers import TFDS_PREFIX, expand_source
from m5jax.data.records import FIELDS, RECORDS, BadRecord, Record, RecordKind, column_value
from m5jax.data.rejected import RejectLog
from m5jax.data.seen_ids import SeenIds
from m5jax.data.serialize import serialize_line
from m5jax.data.shard_writer import ShardWriter
from m5jax.errors import UserError, unknown_name

FORMAT_VERSION = 2
SHARDS = 8
# Not a field of a record: records with equal values go to the same side of the train and validation split.
SPLIT_KEY = "split_key"
# Nor this: the column that says what split a record of the source "train" belongs to.
SPLIT = "split"
_SPLITS = {
    **{name: name for name in ("train", "validation", "test")},
    **dict.fromkeys(("dev", "valid", "val"), "validation"),
}
_VALIDATION_FRACTION = 0.02


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Canonical records on disk. `counts[language][split]` holds `records` and `bytes` (UTF-8, of the lines)."""

    name: str
    kind: RecordKind
    directory: Path
    shards: int
    counts: Mapping[str, Mapping[str, Mapping[str, int]]]
    rejected: int

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that have records in any split, sorted."""
        return tuple(sorted(self.counts))

    @property
    def rejected_path(self) -> Path:
        """Where the bad records are listed; there is no such file when there were none."""
        return rejected_path(self.directory)

    def count(self, language: str, split: str) -> int:
        """Returns the number of records, 0 for a split without any; raises UserError for a language without data."""
        return self._language(language).get(split, {}).get("records", 0)

    def utf8_bytes(self, language: str, split: str) -> int:
        """Returns the size of the canonical lines; raises UserError for a language without data."""
        return self._language(language).get(split, {}).get("bytes", 0)

    def files(self, language: str, split: str) -> list[Path]:
        """Returns the shards in order; raises UserError for a language, or a split of it, without data."""
        splits = self._language(language)
        if split not in splits:
            raise UserError(f"corpus {self.name} has no {split} records in {language}; splits there: {_listed(splits)}")
        return shard_paths(self.directory, language, split, self.shards)

    def texts(self, language: str, split: str) -> Iterator[str]:
        """Yields the serialized text of each record; raises UserError as `files`."""
        for path in self.files(language, split):
            with path.open(encoding="utf-8") as lines:
                for line in lines:
                    yield serialize_line(self.kind, line)

    def records(self, language: str, split: str) -> Iterator[Record]:
        """Yields the records; raises UserError as `files`."""
        for path in self.files(language, split):
            with path.open(encoding="utf-8") as lines:
                yield from map(RECORDS[self.kind].from_json, lines)

    def check_kind(self, kind: str) -> None:
        """Raises UserError where the corpus holds other records."""
        if self.kind != kind:
            raise UserError(f"corpus {self.name} holds {self.kind} records, {kind} records are needed")

    def _language(self, language: str) -> Mapping[str, Mapping[str, int]]:
        if language not in self.counts:
            raise UserError(f"corpus {self.name} has no data in language {language!r}; allowed: {_listed(self.counts)}")
        return self.counts[language]


def ingest_corpus(
    name: str,
    sources: Mapping[str, str | Path | Sequence[str | Path]],
    kind: RecordKind = "product",
    column_mapping: Mapping[str, str] | None = None,
    defaults: Mapping[str, Any] | None = None,
    validation_fraction: float | None = None,
    cache_dir: str | Path | None = None,
    reject_limit: float = 0.01,
    joins: Sequence[Join] = (),
    rewrite: Rewrite | None = None,
) -> Corpus:
    """Returns the corpus of `sources`, made now or found in the cache.

    Args:
        name: names the directory; letters, digits, "-", "_" and ".".
        sources: for each split what `read_rows` takes. Where there is no "validation", `validation_fraction` of the
            records of "train" go there, chosen by a hash of the split key, id or text that no later run changes.
        kind: "product", "text", or of labelled rows "pair", "judgement", "session" or "utterance".
        column_mapping: our field -> the input's column. `split_key` names the column whose equal values stay on one
            side of the split (default: the id of a product, the query of a judgement, of others what they say).
            `split` names the column that says where a record of the source "train" belongs. Within a labelled row's
            products, fields have the columns mapped to title, description, bullets, attributes and category.
        defaults: our field -> constant for rows that leave it empty.
        validation_fraction: share of the records, 0 for no validation split; None: 0.02 of "train" where it is the only
            split, and no column says another.
        cache_dir: default `cache_directory()`.
        reject_limit: fraction of the records that may be bad; a product's (id, language) that came before is bad too.
        joins: fields looked up in other inputs, before anything else.
        rewrite: a function from a row (with what was joined) to the row to read, None to leave it out; it raises
            BadRecord for a bad one.

    Raises:
        UserError: a wrong argument or input, too many bad records, or a directory that cannot be written.
    """
    column_mapping, defaults = dict(column_mapping or {}), dict(defaults or {})
    if validation_fraction is None:
        only = set(sources) == {"train"} and SPLIT not in column_mapping
        validation_fraction = _VALIDATION_FRACTION if only else 0.0
    _check_arguments(name, sources, kind, column_mapping, defaults, validation_fraction)
    files = {split: expand_source(source) for split, source in sources.items()}
    settings: dict[str, Any] = {
        "kind": kind,
        "mapping": column_mapping,
        "defaults": defaults,
        "validation": validation_fraction,
    }
    if joins or rewrite:
        looked_up = [[join.field, join.columns, join.key, *_file_states(expand_source(join.source))] for join in joins]
        settings |= {"joins": looked_up, "rewrite": source_fingerprint(rewrite) if rewrite else ""}
    directory = Path(cache_dir or cache_directory()) / f"{name}-{_fingerprint(files, settings)}"
    fraction = 0.0 if "validation" in files else validation_fraction
    ingestion = _Ingestion(kind, column_mapping, defaults, fraction, tuple(joins), rewrite)
    with _write_errors(directory):
        directory.parent.mkdir(parents=True, exist_ok=True)
        if not (directory / "corpus.json").is_file():
            _write(directory, name, files, ingestion, reject_limit)
    return read_corpus(directory, reject_limit)


def read_corpus(directory: Path, reject_limit: float = 1.0) -> Corpus:
    """Returns the corpus that `ingest_corpus` wrote; raises UserError where more than `reject_limit` were rejected."""
    try:
        values = json.loads((directory / "corpus.json").read_text(encoding="utf-8"))
        corpus = Corpus(directory=directory, **values)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{directory} is no complete corpus ({error}); delete it to have it made again") from error
    read = corpus.rejected + sum(split["records"] for splits in corpus.counts.values() for split in splits.values())
    if corpus.rejected > reject_limit * read:
        raise UserError(
            f"{corpus.rejected} of {read} records of corpus {corpus.name} were bad ({corpus.rejected / read:.1%}, "
            f"allowed: {reject_limit:.1%}); all of them: {corpus.rejected_path}"
        )
    return corpus


def shard_paths(directory: Path, language: str, split: str, shards: int) -> list[Path]:
    """Returns `<language>/<split>-0000k-of-0000n.jsonl` for each k."""
    return [directory / language / f"{split}-{index:05d}-of-{shards:05d}.jsonl" for index in range(shards)]


def rejected_path(directory: Path) -> Path:
    """Beside the corpus directory, so that it stays when too many bad records stop the pass."""
    return directory.with_name(f"{directory.name}.rejected.jsonl")


def in_validation(key: str, fraction: float) -> bool:
    """Whether records with this split key are among the `fraction` for validation, by a hash that no run changes."""
    digest = hashlib.blake2b(key.encode("utf-8", errors="replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < fraction * 2.0**64


@dataclasses.dataclass(frozen=True)
class _Ingestion:
    kind: RecordKind
    column_mapping: Mapping[str, str]
    defaults: Mapping[str, Any]
    validation_fraction: float
    joins: tuple[Join, ...] = ()
    rewrite: Rewrite | None = None

    def split(self, split: str, record: Record, row: Mapping[str, Any]) -> str:
        """Returns the split that the row says, "validation" for the chosen fraction, `split` for the others."""
        if SPLIT in self.column_mapping and split == "train":
            said = str(column_value(row, self.column_mapping[SPLIT])).lower()
            if said not in _SPLITS:
                raise BadRecord(f"split {said[:20]!r} is none of {', '.join(_SPLITS)}")
            split = _SPLITS[said]
        if self.validation_fraction == 0.0 or split != "train":
            return split
        key = column_value(row, self.column_mapping[SPLIT_KEY]) if SPLIT_KEY in self.column_mapping else None
        if key is None:
            key = record.split_key
        return "validation" if in_validation(str(key), self.validation_fraction) else split


def _write(
    directory: Path, name: str, files: Mapping[str, list[str]], ingestion: _Ingestion, reject_limit: float
) -> None:
    with tempfile.TemporaryDirectory(prefix=f".{directory.name}.", dir=directory.parent) as temporary_name:
        temporary = Path(temporary_name) / "corpus"
        temporary.mkdir()
        with (
            RejectLog(rejected_path(directory), reject_limit) as log,
            SeenIds(Path(temporary_name) / "seen_ids") as seen,
            tqdm(desc=f"reading {name}", unit=" records", unit_scale=True, disable=None) as progress,
        ):
            writer = ShardWriter(temporary, SHARDS, shard_paths)
            for split, record in _records(files, ingestion, log, seen):
                writer.write(record.language, split, record.to_json())
                progress.update()
            writer.finish()
        if not writer.counts:
            raise UserError(f"corpus {name} has no good record; the bad ones: {log.path}")
        values = {"name": name, "kind": ingestion.kind, "shards": SHARDS, "counts": writer.counts}
        text = json.dumps({**values, "rejected": log.rejected}, indent=2)
        (temporary / "corpus.json").write_text(text + "\n", encoding="utf-8")
        try:
            temporary.rename(directory)
        except OSError:
            # Another process on the same cache may have finished the same corpus first; theirs is as good.
            if not (directory / "corpus.json").is_file():
                raise


def _records(
    files: Mapping[str, list[str]], ingestion: _Ingestion, log: RejectLog, seen: SeenIds
) -> Iterator[tuple[str, Record]]:
    with joined(ingestion.joins, log, log.path.parent) as complete:

        def rewrite(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
            row = complete(row)
            return ingestion.rewrite(row) if ingestion.rewrite else row

        for source_split, paths in files.items():
            for location, row, record in read_records(
                paths,
                ingestion.kind,
                ingestion.column_mapping,
                ingestion.defaults,
                log,
                other_fields=(SPLIT_KEY, SPLIT),
                rewrite=rewrite if ingestion.joins or ingestion.rewrite else None,
            ):
                try:
                    split = ingestion.split(source_split, record, row)
                except BadRecord as error:
                    log.reject(location, str(error))
                    continue
                if seen.rejects(record, location, log):
                    continue
                log.accept()
                yield split, record


def _check_arguments(
    name: str,
    sources: Mapping[str, Any],
    kind: str,
    column_mapping: Mapping[str, str],
    defaults: Mapping[str, Any],
    validation_fraction: float,
) -> None:
    if kind not in FIELDS:
        raise unknown_name("record kind", kind, FIELDS)
    if not sources:
        raise UserError(f"corpus {name} has no source; allowed: a mapping such as {{'train': 'products.jsonl'}}")
    for label in (name, *sources):
        if not label.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise UserError(f"{label!r} cannot name a corpus or split; allowed: letters, digits, '-', '_' and '.'")
    for fields, allowed in ((column_mapping, (*FIELDS[kind], SPLIT_KEY, SPLIT)), (defaults, FIELDS[kind])):
        for field in fields:
            if field not in allowed:
                raise unknown_name(f"field of a {kind} record", field, allowed)
    if not 0.0 <= validation_fraction < 1.0:
        raise UserError(f"the validation fraction is {validation_fraction}, allowed: from 0 to below 1")


def _fingerprint(files: Mapping[str, list[str]], settings: Mapping[str, Any]) -> str:
    content = json.dumps([FORMAT_VERSION, SHARDS, describe_files(files), settings], sort_keys=True, default=str)
    return hashlib.blake2b(content.encode("utf-8"), digest_size=6).hexdigest()


def describe_files(files: Mapping[str, list[str]]) -> dict[str, list[Any]]:
    """Returns, for each split, what tells its expanded sources from others: name, size and time of change of files."""
    return {split: _file_states(paths) for split, paths in files.items()}


def _file_states(paths: Sequence[str]) -> list[Any]:
    return [path if path.startswith(TFDS_PREFIX) else _file_state(Path(path)) for path in paths]


def source_fingerprint(function: Callable[..., Any]) -> str:
    """Returns what tells a function from one that was edited or made with other settings: a name and a hash of its
    source, arguments bound to it, and values it closes over. Functions that it calls are not looked into."""
    name = getattr(function, "__name__", type(function).__name__)
    return f"{name}-{hashlib.blake2b(_source(function).encode('utf-8'), digest_size=6).hexdigest()}"


def _source(value: Any) -> str:
    if isinstance(value, functools.partial):
        return repr(
            [_source(value.func), *map(_source, value.args), {k: _source(v) for k, v in value.keywords.items()}]
        )
    if inspect.isfunction(value):
        try:
            text = inspect.getsource(value)
        except (OSError, TypeError):  # typed in
            text = repr(value.__code__.co_code)
        closed_over = inspect.getclosurevars(value).nonlocals
        defaults = (value.__defaults__, value.__kwdefaults__)
        return repr([text, defaults, {name: _source(item) for name, item in sorted(closed_over.items())}])
    return repr(value)


def _file_state(path: Path) -> tuple[str, int, int]:
    state = path.stat()
    return path.name, state.st_size, state.st_mtime_ns


@contextlib.contextmanager
def _write_errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"cannot write {directory}: {getattr(error, 'strerror', None) or error}") from error


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(sorted(names)) or "none"

"""The steps of a preparation as Beam transforms.

Between them a document is a tuple `(side, line, language, split)`: `side` orders training documents (1) after held-out
ones (0), so that of two duplicates the held-out one stays; `line` is canonical JSON. A *tally* is a pair of
`(name, language, detail, number)` and a count to add to; see `m5jax.data.preparation.statistics`.
"""

import hashlib
import heapq
import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import zstandard

from m5jax.data.preparation.documents import Cleaner, line_text, primary_language, text_key
from m5jax.data.preparation.near_duplicates import NearDuplicates, later_duplicates
from m5jax.data.preparation.normalize import split_words
from m5jax.data.preparation.settings import LABELLED, Preparation
from m5jax.data.readers import read_rows
from m5jax.data.records import BadRecord, ProductRecord
from m5jax.errors import UserError

Document = tuple[int, str, str, str]
Keyed = tuple[bytes, Document]
Tally = tuple[tuple[str, str, str, int], int]

TALLY, REJECTED = "tally", "rejected"
MOST_LISTED = 100_000  # bad rows in rejected.jsonl
_SHARD_SUFFIX = ".jsonl.zst"
# A shard is chosen by a hash: with so many documents for each, none of them stays empty.
_LEAST_DOCUMENTS_A_SHARD = 64
_COMPRESSION_LEVEL = 3


class ReadFile(beam.DoFn):
    """From `(split, source)` to `(location, split, row)`; rows that cannot be read to `REJECTED`."""

    def __init__(self, settings: Preparation) -> None:
        self._columns = Cleaner(settings).columns

    def process(self, element: tuple[str, str]) -> Iterator[Any]:
        split, source = element
        bad: list[tuple[str, str]] = []
        rows = read_rows(source, on_bad=lambda location, reason: bad.append((location, reason)), columns=self._columns)
        for location, row in rows:
            yield location, split, row
            if bad:
                yield from (beam.pvalue.TaggedOutput(REJECTED, item) for item in bad)
                bad.clear()
        yield from (beam.pvalue.TaggedOutput(REJECTED, item) for item in bad)


class CleanRow(beam.DoFn):
    """From `(location, split, row)` to documents; bad rows to `REJECTED`, what was read and dropped to `TALLY`."""

    def __init__(self, settings: Preparation) -> None:
        self._cleaner = Cleaner(settings)

    def setup(self) -> None:
        self._cleaner.load()

    def process(self, element: tuple[str, str, Mapping[str, Any]]) -> Iterator[Any]:
        location, split, row = element
        try:
            cleaned = self._cleaner.clean(row, split)
        except BadRecord as error:
            yield beam.pvalue.TaggedOutput(REJECTED, (location, str(error)))
            return
        yield beam.pvalue.TaggedOutput(TALLY, (("read", cleaned.language, "", 0), 1))
        if cleaned.dropped is not None:
            yield beam.pvalue.TaggedOutput(TALLY, (("dropped", cleaned.language, cleaned.dropped, 0), 1))
        else:
            yield int(cleaned.split == "train"), cleaned.line, cleaned.language, cleaned.split


class _FirstAndNumber(beam.CombineFn):
    """The smallest of equal keys' documents, and how many there are: the same in whatever order they come."""

    def create_accumulator(self) -> tuple[Document | None, int]:
        return None, 0

    def add_input(self, accumulator: tuple[Document | None, int], document: Document) -> tuple[Document | None, int]:
        first, number = accumulator
        return (document if first is None else min(first, document)), number + 1

    def merge_accumulators(self, accumulators: Iterable[tuple[Document | None, int]]) -> tuple[Document | None, int]:
        found = list(accumulators)
        documents = [first for first, _ in found if first is not None]
        return min(documents, default=None), sum(number for _, number in found)

    def extract_output(self, accumulator: tuple[Document | None, int]) -> tuple[Document | None, int]:
        return accumulator


class KeepFirst(beam.PTransform):
    """Keeps one document of each key; what goes is tallied under `step`. Returns the pair (documents, tallies)."""

    def __init__(self, step: str) -> None:
        super().__init__()
        self._step = step

    def expand(self, keyed: Any) -> Any:
        def split(item: tuple[bytes, tuple[Document, int]]) -> Iterator[Any]:
            key, (document, number) = item
            yield key, document
            if number > 1:
                yield beam.pvalue.TaggedOutput(TALLY, (("dropped", document[2], self._step, 0), number - 1))

        first = keyed | "first" >> beam.CombinePerKey(_FirstAndNumber())
        outputs = first | "split" >> beam.FlatMap(split).with_outputs(TALLY, main="kept")
        return outputs.kept, outputs[TALLY]


def product_key(document: Document) -> Keyed:
    """Keys a product by its id and language, which `ingest_corpus` allows once."""
    return text_key(document[2], ProductRecord.from_json(document[1]).id), document


def exact_key(document: Document, kind: str) -> Keyed:
    """Keys a document by its text and language, or a labelled row by all of it."""
    return text_key("" if kind == LABELLED else document[2], line_text(kind, document[1])), document


class DropNearDuplicates(beam.PTransform):
    """Drops documents that are near-duplicates of an earlier one; keys are those of `exact_key`.

    Longer documents come earlier, held-out ones before all. A document goes if in any bucket it is a verified
    near-duplicate of an earlier one that is none itself in that bucket: of two near-duplicates that share a bucket one
    always goes, and what is kept does not depend on the order of work. Only buckets with several documents are looked
    at, the same set of documents once; only they carry the documents' shingles.
    """

    def __init__(self, settings: NearDuplicates, kind: str) -> None:
        super().__init__()
        self._settings, self._kind = settings, kind

    def expand(self, keyed: Any) -> Any:
        tickets = (
            keyed
            | "bands" >> beam.FlatMap(self._bands)
            | "buckets" >> beam.GroupByKey()
            | "several" >> beam.FlatMap(_shared_bucket)
            | "equal buckets" >> beam.GroupByKey()
            | "one of equal" >> beam.FlatMap(_tickets)
        )
        duplicates = (
            {"documents": keyed, "tickets": tickets}
            | "with documents" >> beam.CoGroupByKey()
            | "shingles" >> beam.FlatMap(self._entries)
            | "entries" >> beam.GroupByKey()
            | "verified" >> beam.FlatMap(self._duplicates)
            | "once" >> beam.Distinct()
            | "as pairs" >> beam.Map(lambda key: (key, None))
        )
        outputs = (
            {"documents": keyed, "duplicates": duplicates}
            | "documents again" >> beam.CoGroupByKey()
            | "drop" >> beam.FlatMap(_without_duplicates).with_outputs(TALLY, main="kept")
        )
        return outputs.kept, outputs[TALLY]

    def _bands(self, item: Keyed) -> Iterator[tuple[bytes, bytes]]:
        key, (_, line, language, _) = item
        shingles = self._settings.shingles(line_text(self._kind, line))
        if len(shingles):
            for band_key in self._settings.band_keys(shingles, primary_language(language)):
                yield band_key, key

    def _entries(self, item: tuple[bytes, Mapping[str, Iterable[Any]]]) -> Iterator[Any]:
        key, joined = item
        tickets = list(joined["tickets"])
        if tickets:
            ((side, line, _, _),) = joined["documents"]
            shingles = self._settings.shingles(line_text(self._kind, line))
            for ticket in tickets:
                yield ticket, (side, -len(shingles), key, shingles.tobytes())

    def _duplicates(self, item: tuple[bytes, Iterable[tuple[int, int, bytes, bytes]]]) -> Iterator[bytes]:
        entries = sorted(item[1])
        texts = (np.frombuffer(shingles, np.uint64) for *_, shingles in entries)
        for position in later_duplicates(texts, self._settings.threshold):
            yield entries[position][2]


def _shared_bucket(bucket: tuple[bytes, Iterable[bytes]]) -> Iterator[tuple[bytes, list[bytes]]]:
    members = sorted(bucket[1])
    if len(members) > 1:
        yield hashlib.blake2b(b"".join(members), digest_size=16).digest(), members


def _tickets(item: tuple[bytes, Iterable[list[bytes]]]) -> Iterator[tuple[bytes, bytes]]:
    ticket, equal = item
    return ((member, ticket) for member in next(iter(equal)))


def _without_duplicates(item: tuple[bytes, Mapping[str, Iterable[Any]]]) -> Iterator[Any]:
    key, joined = item
    (document,) = joined["documents"]
    if list(joined["duplicates"]):
        yield beam.pvalue.TaggedOutput(TALLY, (("dropped", document[2], "near_duplicate", 0), 1))
    else:
        yield key, document


def settle_rejected(item: tuple[str, Mapping[str, Iterable[Any]]], good: int, limit: float, path: str) -> Iterator[int]:
    """Writes bad rows to `path`, if there are any, and yields their number; raises UserError past the limit.

    At most `MOST_LISTED` are written: where every row of a huge input is bad, one worker could not hold them.
    """
    rejected = 0

    def counted() -> Iterator[tuple[str, str]]:
        nonlocal rejected
        for pair in item[1]["rejected"]:
            rejected += 1
            yield pair

    listed = heapq.nsmallest(MOST_LISTED, counted())
    read = good + rejected
    if listed:
        lines = (
            json.dumps({"location": location, "reason": reason}, ensure_ascii=False) for location, reason in listed
        )
        Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", errors="backslashreplace")
    if rejected > limit * read:
        location, reason = listed[0]
        raise UserError(
            f"{rejected} of {read} rows are bad ({rejected / read:.1%}, allowed: {limit:.1%}); "
            f"the first: {location}: {reason}; all of them: {path}"
        )
    yield rejected


def reason_tally(item: tuple[str, str]) -> Tally:
    """Tallies a bad row under its reason, without the names and numbers in it."""
    reason = re.sub(r"\d+", "N", re.sub(r"'[^']*'|\"[^\"]*\"", "…", item[1]))
    return ("rejected", "", reason[:120], 0), 1


class WriteShards(beam.PTransform):
    """Writes kept documents to `directory`/LANGUAGE/SPLIT-0000k-of-0000n.jsonl.zst; returns their tallies.

    A document's shard and its place there follow from its key: the shards are shuffled, and the same in every run.
    """

    def __init__(self, directory: str, shard_bytes: int) -> None:
        super().__init__()
        self._directory, self._shard_bytes = directory, shard_bytes

    def expand(self, keyed: Any) -> Any:
        def measure(item: Keyed) -> tuple[tuple[str, str], tuple[int, int]]:
            _, (_, line, language, split) = item
            return (language, split), (1, len(line.encode("utf-8")) + 1)

        def shard_count(item: tuple[tuple[str, str], tuple[int, int]]) -> tuple[tuple[str, str], int]:
            group, (documents, size) = item
            return group, max(1, min(-(-size // self._shard_bytes), documents // _LEAST_DOCUMENTS_A_SHARD))

        def to_shard(item: Keyed, shards: Mapping[tuple[str, str], int]) -> Any:
            key, (_, line, language, split) = item
            count = shards[language, split]
            return (language, split, int.from_bytes(key[:8], "big") % count, count), (key, line)

        shards = (
            keyed
            | "measure" >> beam.Map(measure)
            | "sizes" >> beam.CombinePerKey(beam.combiners.TupleCombineFn(sum, sum))
            | "shards" >> beam.Map(shard_count)
        )
        return (
            keyed
            | "to shard" >> beam.Map(to_shard, shards=beam.pvalue.AsDict(shards))
            | "group" >> beam.GroupByKey()
            | "write" >> beam.FlatMap(_write_shard, directory=self._directory)
        )


def _write_shard(
    item: tuple[tuple[str, str, int, int], Iterable[tuple[bytes, str]]], directory: str
) -> Iterator[Tally]:
    (language, split, index, count), lines = item
    path = Path(directory) / language / f"{split}-{index:05d}-of-{count:05d}{_SHARD_SUFFIX}"
    path.parent.mkdir(exist_ok=True)
    data = "".join(f"{line}\n" for _, line in sorted(lines)).encode("utf-8")
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    temporary.write_bytes(zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL, write_checksum=True).compress(data))
    # A worker may do the work of another again: whole files take each other's place.
    temporary.replace(path)
    yield ("bytes", language, split, 0), len(data)


def length_tallies(item: Keyed, kind: str) -> Iterator[Tally]:
    """Tallies the characters and words of a document's text, one count for each length."""
    _, (_, line, language, split) = item
    text = line_text(kind, line)
    yield ("characters", language, split, len(text)), 1
    yield ("words", language, split, len(split_words(text))), 1

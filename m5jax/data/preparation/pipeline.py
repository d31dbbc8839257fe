"""`m5jax data prepare`: one Beam pipeline from raw files to clean shards, statistics and a report.

    OUTPUT/LANGUAGE/SPLIT-0000k-of-0000n.jsonl.zst    records for `ingest_corpus`, or labelled rows
    OUTPUT/statistics.json, OUTPUT/report.html        what was read, dropped and kept, and by which settings
    OUTPUT/rejected.jsonl                             bad rows with their reason, where any; at most 100,000

The directory is made beside its place and renamed when it is whole. A run that too many bad rows stop leaves them in
OUTPUT.rejected.jsonl.
"""

import json
import logging
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from m5jax.data.corpus import describe_files
from m5jax.data.preparation.documents import Cleaner
from m5jax.data.preparation.report import write_report
from m5jax.data.preparation.settings import Preparation
from m5jax.data.preparation.statistics import summarize, write_statistics
from m5jax.data.preparation.transforms import (
    REJECTED,
    TALLY,
    CleanRow,
    DropNearDuplicates,
    KeepFirst,
    ReadFile,
    WriteShards,
    exact_key,
    length_tallies,
    product_key,
    reason_tally,
    settle_rejected,
)
from m5jax.data.readers import expand_source
from m5jax.errors import UserError

_TALLIES, _REJECTED = "tallies.json", "rejected.jsonl"
_LOCAL_RUNNERS = (None, "DirectRunner", "BundleBasedDirectRunner")


def prepare(settings: Preparation, beam_options: Sequence[str] = ()) -> dict[str, Any]:
    """Runs a preparation; returns what it wrote to `statistics.json`.

    Args:
        settings: what to do.
        beam_options: flags of Beam, such as `--runner=FlinkRunner`; none: the DirectRunner. Every worker must see the
            input, the output's parent and this package.

    Raises:
        UserError: an output that exists or cannot be written, a wrong input or option, too many bad rows, or a language
            that cannot be identified.
    """
    output = Path(settings.output)
    if output.exists():
        raise UserError(f"{output} exists; remove it or choose another OUTPUT")
    files = {split: expand_source(source) for split, source in settings.sources.items()}
    options = read_options(beam_options)
    Cleaner(settings).load()
    sources = describe_files(files)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as temporary:
            staging = Path(temporary) / "prepared"
            staging.mkdir()
            try:
                run_pipeline(lambda pipeline: build(pipeline, settings, files, staging), options)
                statistics = _summarized(settings, sources, staging)
            except UserError as error:
                raise _with_kept_rejects(error, staging / _REJECTED, output) from error
            if output.exists():
                raise UserError(f"{output} was made by another process meanwhile; remove it or choose another OUTPUT")
            staging.rename(output)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}") from error
    return statistics


def build(pipeline: beam.Pipeline, settings: Preparation, files: dict[str, list[str]], staging: Path) -> None:
    """Adds the steps of a preparation to a pipeline; `staging` is the directory that it fills."""
    sources = [(split, path) for split, paths in files.items() for path in paths]
    rows = (
        pipeline
        | "sources" >> beam.Create(sources)
        | "one worker a file" >> beam.Reshuffle()
        | "read" >> beam.ParDo(ReadFile(settings)).with_outputs(REJECTED, main="rows")
    )
    cleaned = (
        rows.rows
        | "all workers" >> beam.Reshuffle()
        | "clean" >> beam.ParDo(CleanRow(settings)).with_outputs(REJECTED, TALLY, main="documents")
    )
    rejected = (rows[REJECTED], cleaned[REJECTED]) | "all rejected" >> beam.Flatten()
    checked = _check_rejected(pipeline, rejected, cleaned[TALLY], settings, staging)
    tallies = [cleaned[TALLY], rejected | "reasons" >> beam.Map(reason_tally)]
    documents = cleaned.documents
    if settings.kind == "product":
        keyed, tally = documents | "ids" >> beam.Map(product_key) | "repeated ids" >> KeepFirst("repeated_id")
        documents = keyed | "documents" >> beam.Values()
        tallies.append(tally)
    keyed = documents | "texts" >> beam.Map(
        # Comparing texts waits until the rows are known to be good enough.
        lambda document, kind, _: exact_key(document, kind),
        settings.kind,
        beam.pvalue.AsSingleton(checked),
    )
    keyed, tally = keyed | "exact duplicates" >> KeepFirst("exact_duplicate")
    tallies.append(tally)
    if settings.near_duplicates is not None:
        keyed, tally = keyed | "near duplicates" >> DropNearDuplicates(settings.near_duplicates, settings.kind)
        tallies.append(tally)
    tallies.append(keyed | "shards" >> WriteShards(str(staging), settings.shard_megabytes << 20))
    tallies.append(keyed | "lengths" >> beam.FlatMap(length_tallies, settings.kind))
    _ = (
        tallies
        | "all tallies" >> beam.Flatten()
        | "sums" >> beam.CombinePerKey(sum)
        | "in one" >> beam.combiners.ToList()
        | "write tallies" >> beam.Map(_write_json, path=str(staging / _TALLIES))
    )


def _check_rejected(pipeline: Any, rejected: Any, read: Any, settings: Preparation, staging: Path) -> Any:
    """Returns the number of bad rows once all are read, written down and few enough."""
    good = read | "read rows" >> beam.Filter(lambda item: item[0][0] == "read") | beam.combiners.Count.Globally()
    # There is one group even where nothing was rejected.
    always = pipeline | "always" >> beam.Create([("", None)])
    alone = rejected | "together" >> beam.Map(lambda item: ("", item))
    return (
        {"rejected": alone, "always": always}
        | "of all workers" >> beam.CoGroupByKey()
        | "settle"
        >> beam.FlatMap(
            settle_rejected,
            good=beam.pvalue.AsSingleton(good),
            limit=settings.reject_limit,
            path=str(staging / _REJECTED),
        )
    )


def read_options(beam_options: Sequence[str]) -> PipelineOptions:
    """Returns Beam's options; raises UserError for flags that are none."""
    flags = list(beam_options)
    for flag in flags:
        if not flag.startswith("--"):
            raise UserError(f"--beam_options: {flag!r} is no flag; one is such as --runner=FlinkRunner")
    try:
        options = PipelineOptions(flags)
        known = options.get_all_options()
    except SystemExit as error:  # argparse's, which has printed why
        raise UserError(f"--beam_options: Beam does not take {' '.join(flags)}") from error
    # Other runners have flags that only their own servers know.
    if options.view_as(StandardOptions).runner in _LOCAL_RUNNERS:
        for flag in flags:
            name = flag[2:].partition("=")[0]
            if name not in known and name.removeprefix("no_") not in known:
                raise UserError(f"--beam_options: {flag} is no flag of Beam's DirectRunner")
    return options


def run_pipeline(build_steps: Any, options: PipelineOptions) -> None:
    """Runs a pipeline to its end; a UserError of a step comes out as one."""
    beam_log = logging.getLogger("apache_beam")
    level = beam_log.level
    beam_log.setLevel(logging.CRITICAL)  # what goes wrong is raised, and need not be printed before
    try:
        with beam.Pipeline(options=options) as pipeline:
            build_steps(pipeline)
    except Exception as error:
        message = _user_message(error)
        if message is None:
            raise
        raise UserError(message) from error
    finally:
        beam_log.setLevel(level)


def _user_message(error: Exception) -> str | None:
    """Returns the line for an error that a user can mend, in a step or of an option, None for any other error."""
    if isinstance(error, UserError):
        line = str(error)
    elif found := re.search(r"^m5jax\.errors\.UserError: ([^\n]*)", str(error), re.MULTILINE):
        line = found[1]  # of a runner that passes on the text alone
    elif isinstance(error, ValueError) and "pipeline runner" in str(error):
        return f"--beam_options: {error}".splitlines()[0]
    elif found := re.search(r"\[Errno \d+\] ([^\n]*)", str(error)):  # a full disk, a cluster that does not answer
        line = f"the pipeline stopped: {found[1]}"
    else:
        return None
    return line.partition(" [while running ")[0]


def _summarized(settings: Preparation, sources: dict[str, list[Any]], staging: Path) -> dict[str, Any]:
    tallies = json.loads((staging / _TALLIES).read_text(encoding="utf-8"))
    (staging / _TALLIES).unlink()
    statistics = summarize(tallies, settings, sources)
    if not statistics["kept"]:
        raise UserError(f"nothing is left of {statistics['read']} rows; dropped: {statistics['dropped'] or 'none'}")
    write_statistics(staging, statistics)
    write_report(staging, statistics)
    return statistics


def _with_kept_rejects(error: UserError, rejects: Path, output: Path) -> UserError:
    if not rejects.exists():
        return error
    kept = output.with_name(f"{output.name}.rejected.jsonl")
    shutil.copyfile(rejects, kept)
    return UserError(str(error).replace(str(rejects), str(kept)))


def _write_json(values: Any, path: str) -> None:
    Path(path).write_text(json.dumps(sorted(values)), encoding="utf-8")

"""A whole preparation of real text in English, German and Arabic: speed, memory, and what was dropped.

    M5JAX_DATA=/path/to/data python benchmarks/preparation.py

runs `gin_configs/preparation/text.gin` on text/LANG.train.jsonl.zst and text/LANG.valid.jsonl.zst, whose chunks of a
document share the column `doc`, with Beam's DirectRunner in one process.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.environment import environment
from m5jax.configuration.load import load_preparation
from m5jax.data.preparation.load_beam import load_beam

LANGUAGES = ("en", "de", "ar")
CONFIG = "gin_configs/preparation/text.gin"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", metavar="DIR", help="directory for the prepared data (default: thrown away)")
    arguments = parser.parse_args()
    text = Path(os.environ["M5JAX_DATA"]) / "text"
    splits = {"train": "train", "validation": "valid"}
    source = {split: tuple(f"{text}/{name}.{file}.jsonl.zst" for name in LANGUAGES) for split, file in splits.items()}
    load_beam()
    from m5jax.data.preparation.pipeline import prepare
    from m5jax.data.preparation.statistics import statistics_table

    with tempfile.TemporaryDirectory() as temporary:
        output = arguments.keep or f"{temporary}/prepared"
        bindings = [f"INPUT={source!r}", f"OUTPUT={output!r}", "Preparation.column_mapping={'split_key': 'doc'}"]
        settings = load_preparation([CONFIG], bindings)
        before, processor_before = time.perf_counter(), time.process_time()
        statistics = prepare(settings)
        seconds, processor_seconds = time.perf_counter() - before, time.process_time() - processor_before
        written = sum(path.stat().st_size for path in Path(output).glob("*/*.zst"))
    print(statistics_table(statistics))
    size = sum(of["bytes"] for values in statistics["languages"].values() for of in values["splits"].values())
    result = {
        "environment": environment(),
        "seconds": round(seconds, 1),
        "documents_per_second": round(statistics["read"] / seconds),
        "processor_seconds": round(processor_seconds, 1),
        "documents_per_processor_second": round(statistics["read"] / processor_seconds),
        "peak_memory_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "kept_bytes": size,
        "compressed_bytes": written,
        **{name: statistics[name] for name in ("read", "kept", "dropped", "rejected")},
        "languages": {
            language: {name: values[name] for name in ("read", "kept", "dropped", "character_quantiles")}
            for language, values in statistics["languages"].items()
        },
    }
    print(
        f"{seconds:.0f} s, {result['documents_per_second']} documents/s, {result['peak_memory_megabytes']} MB at most"
    )
    path = Path(__file__).with_name("results") / "preparation.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written to {path}")


if __name__ == "__main__":
    main()

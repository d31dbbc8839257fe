"""Reading rows that were written down, beside the live pipeline that makes them.

    python benchmarks/materialized.py

prints tokens a second of one core, live and written; the seconds until the first batch of a run that resumes at row
1,000,000; and the peak memory of a reading process over few and many rows. The many rows are the few under other names
(hard links), which costs no disk and is the same to the reader.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.environment import environment
from m5jax.data.materialized import FILE_NAME, MaterializedBatches, read_rows, write_rows

MIXTURE = "embedded_catalog_mlm"
BATCH_SIZE, LENGTH = 64, 512
RESUME_ROW = 1_000_000


def tokens_per_second(batches: Iterator[Any], count: int) -> float:
    """Returns real tokens by second of processor time, of all threads of the process."""
    next(batches)
    started = time.process_time()
    tokens = sum(int((next(batches)["segment_ids"] > 0).sum()) for _ in range(count))
    return tokens / (time.process_time() - started)


def repeat_rows(directory: Path, output: Path, least: int) -> int:
    """Makes a directory of at least `least` rows out of one with fewer; returns how many it has."""
    described = json.loads((directory / FILE_NAME).read_text())
    ((name, (rows, size)),) = described["shards"].items()
    output.mkdir()
    copies = -(-least // rows)
    shards = {f"rows-{index:05d}-of-{copies:05d}.array_record": (rows, size) for index in range(copies)}
    for shard in shards:
        os.link(directory / name, output / shard)
    (output / FILE_NAME).write_text(json.dumps(described | {"shards": shards}))
    return copies * rows


def read_in_process(directory: Path, first_row: int, batches: int) -> dict[str, float]:
    """Reads in a process of its own, without TensorFlow, whose threads would be timed too; returns seconds to the first
    batch, tokens a second of one core, and peak memory in MB."""
    command = [sys.executable, __file__, "--read", str(directory), str(first_row), str(batches)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def read(directory: Path, first_row: int, count: int) -> dict[str, float]:
    """The process of `read_in_process`."""
    started = time.perf_counter()
    batches = MaterializedBatches(read_rows(directory), BATCH_SIZE)
    batches.next_row = first_row
    next(batches)
    seconds = time.perf_counter() - started
    speed = tokens_per_second(batches, count)
    assert "tensorflow" not in sys.modules
    return {"seconds": seconds, "speed": speed, "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def measure(rows: int, batches: int) -> dict[str, Any]:
    import tasks  # noqa: F401  registers the tasks
    from m5jax.data.default_vocabulary import default_vocabulary
    from m5jax.data.pipeline import training_batches
    from m5jax.data.vocabulary import set_current_vocabulary

    set_current_vocabulary(default_vocabulary(MIXTURE))
    live = training_batches(MIXTURE, length=LENGTH, batch_size=BATCH_SIZE, seed=0)
    with tempfile.TemporaryDirectory() as temporary:
        few, many = Path(temporary) / "few", Path(temporary) / "many"
        write_rows(live, rows, few, {})
        bytes_a_row = sum(size for _, size in read_rows(few).shards.values()) / rows
        many_rows = repeat_rows(few, many, RESUME_ROW + BATCH_SIZE * batches)
        live_speed = tokens_per_second(live, batches)
        begun, resumed = read_in_process(few, 0, batches), read_in_process(many, RESUME_ROW, batches)
    written_speed = begun["speed"]
    return {
        "length": LENGTH,
        "bytes_a_row": bytes_a_row,
        "live_tokens_per_second_per_core": live_speed,
        "written_tokens_per_second_per_core": written_speed,
        "ratio": written_speed / live_speed,
        "rows": {"few": rows, "many": many_rows},
        "seconds_to_first_batch": {"row 0 of few": begun["seconds"], f"row {RESUME_ROW} of many": resumed["seconds"]},
        "peak_megabytes": {"few": begun["megabytes"], "many": resumed["megabytes"]},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_096, help="rows to write (%(default)s)")
    parser.add_argument("--batches", type=int, default=60, help=f"of {BATCH_SIZE} rows, to time (%(default)s)")
    parser.add_argument("--read", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        directory, first_row, batches = arguments.read
        print(json.dumps(read(Path(directory), int(first_row), int(batches))))
        return
    figures = measure(arguments.rows, arguments.batches)
    for name, value in figures.items():
        print(f"{name:<36}{value if isinstance(value, dict) else f'{value:,.1f}'}")
    output = Path(__file__).with_name("results") / "materialized.json"
    output.write_text(json.dumps({"environment": environment(), **figures}, indent=2) + "\n", encoding="utf-8")
    print(f"written to {output}")


if __name__ == "__main__":
    main()

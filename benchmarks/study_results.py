"""How long 200 finished runs take to be read as a study, tabulated and plotted.

    python -m benchmarks.study_results

Runs have the lines that a run of 3,000 steps and three languages logs. Times are of a process that has not read them
before, imports included; the median of `--repeat` processes.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.environment import environment

RESULT = Path(__file__).parent / "results" / "study_results.json"
LANGUAGES = ("ar", "de", "en")
READ = """
import json, sys, time
start = time.perf_counter()
from m5jax.studies import Study
times = {"imports": time.perf_counter() - start}
def lap(name):
    global start
    times[name], start = time.perf_counter() - start, time.perf_counter()
start = time.perf_counter()
results = Study.from_runs(sys.argv[1])
lap("read")
table = results.table("evaluation/en/loss", "evaluation/de/loss")
lap("table")
results.plot("curves", "evaluation/en/loss").savefig(sys.argv[2])
lap("plot")
assert len(results.runs) == int(sys.argv[3]), results.left_out
print(json.dumps(times))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="(default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="(default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.runs):
            write_run(Path(folder) / f"run_{number:03d}", number)
        command = [sys.executable, "-c", READ, f"{folder}/run_*", f"{folder}/curves.png", str(arguments.runs)]
        laps = [
            json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            for _ in range(arguments.repeat)
        ]
    figures = {name: round(statistics.median(own[name] for own in laps), 2) for name in laps[0]}
    figures["all"] = round(statistics.median(sum(own.values()) for own in laps), 2)
    row = {"runs": arguments.runs, "repeat": arguments.repeat, "seconds": figures}
    RESULT.write_text(json.dumps({"environment": environment(), **row}, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(row))


def write_run(directory: Path, number: int) -> None:
    """Writes a run of ten conditions, with as many lines and names as a real one has."""
    directory.mkdir()
    random = np.random.default_rng(number)
    peak, seed = 10.0 ** -(2 + number % 10 / 10), number // 10
    config = "".join(f"Part{index}.value = {index}\n" for index in range(80))
    (directory / "config.gin").write_text(f"{config}Cosine.peak = {peak}\nTrainerConfig.seed = {seed}\n")
    lines = []
    for step in range(10, 3001, 10):
        names = [f"train/{language}/{name}" for language in LANGUAGES for name in ("loss", "accuracy")]
        names += [f"mixture/{language}" for language in LANGUAGES]
        names += ["train/loss", "train/gradient_norm", "train/learning_rate", "speed/tokens_per_second"]
        lines.append({"step": step, "time": 1.8e9 + step, **dict(zip(names, random.random(len(names)), strict=True))})
        if step % 100 == 0:
            losses = {f"evaluation/{language}/loss": 1 / step + random.random() for language in LANGUAGES}
            lines.append({"step": step, "time": 1.8e9 + step, **losses})
    (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    summary = {"languages": {}, "steps": 3000, "finished": "2026-01-01T00:00:00+00:00", "parameters": 1_000_000}
    (directory / "summary.json").write_text(json.dumps(summary))


if __name__ == "__main__":
    main()

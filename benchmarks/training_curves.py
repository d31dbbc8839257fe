"""Puts a finished run on record: its curves as a picture, its figures as JSON and as a table.

    python benchmarks/training_curves.py --run=runs/text --name=multilingual_text

writes docs/images/NAME.png and benchmarks/results/NAME.json: loss and masked-token accuracy per language over steps on
held-out data, the unigram baseline, speed, versions and device.
"""

import argparse
import dataclasses
import json
from pathlib import Path

from m5jax.evaluation.report import plot_curves
from m5jax.evaluation.tables import format_table, read_summary, run_summary
from m5jax.training.run_log import read_metrics

REPOSITORY = Path(__file__).resolve().parent.parent


def evaluations(run_dir: Path) -> list[dict[str, float]]:
    """Returns the evaluations of a run, one a step."""
    return [
        {name: value for name, value in line.items() if name == "step" or name.startswith("evaluation/")}
        for line in read_metrics(run_dir)
        if any(name.startswith("evaluation/") for name in line)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, type=Path, help="run directory")
    parser.add_argument("--name", required=True, help="of the picture and of the JSON file")
    arguments = parser.parse_args()
    summary = read_summary(arguments.run)
    curves = evaluations(arguments.run)
    # Where things lay on one machine says nothing to the next reader.
    record = {**dataclasses.asdict(dataclasses.replace(summary, written={}, command=None)), "evaluations": curves}
    result = REPOSITORY / "benchmarks" / "results" / f"{arguments.name}.json"
    result.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    plot_curves([arguments.run], REPOSITORY / "docs" / "images" / f"{arguments.name}.png")
    names = [name for name in curves[-1] if name != "step"]
    rows = [[str(int(line["step"])), *(f"{line[name]:.3f}" for name in names)] for line in curves]
    headers = ["step", *(name.removeprefix("evaluation/") for name in names)]
    print(format_table(headers, rows, ["right"] * len(headers)))
    print(run_summary(summary))


if __name__ == "__main__":
    main()

"""A run that takes no time: writes the files of a run directory, and fails or is killed where it is told to.

    fake_run.py train --gin.TrainerConfig.seed=0 --gin.Cosine.peak=0.01 ... --gin.RUN_DIR='DIR'
    fake_run.py finetune --seed=0 --gin.Cosine.peak=0.01 ... --run_dir=DIR
    fake_run.py evaluate --run=DIR --name=test

What DIR/../../orders.json has under a run's peak is done once: "fail", "kill", "wait" (until it is asked to stop).
"""

import ast
import json
import os
import shlex
import signal
import sys
import time
from pathlib import Path

STEPS = (10, 20, 30)
BEST = 20  # of a fine-tuning


def main(words: list[str]) -> int:
    flags = dict(word.removeprefix("--").partition("=")[::2] for word in words[1:])
    if words[0] == "evaluate":
        return evaluate(Path(flags["run"]), flags["name"], words)
    values = {name.removeprefix("gin."): ast.literal_eval(text) for name, text in flags.items() if "gin." in name}
    if words[0] == "finetune":
        values |= {"FineTuning.valid": flags["valid"], "TrainerConfig.seed": int(flags["seed"])}
    run_dir = Path(values.pop("RUN_DIR", None) or flags["run_dir"])
    run_dir.mkdir(exist_ok=True)
    write_run(run_dir, values, done=obey(run_dir, values))
    if words[0] == "finetune":
        result = {"step": BEST, "metrics": {"loss": loss(values, BEST)}}
        (run_dir / "fine_tuned").mkdir(exist_ok=True)
        (run_dir / "fine_tuned" / "result.json").write_text(json.dumps(result))
    return 0


def write_run(run_dir: Path, values: dict, done: int = len(STEPS)) -> None:
    """Writes a run that has made so many of its evaluations."""
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "config.gin").write_text("".join(f"{name} = {value!r}\n" for name, value in values.items()))
    rows = [{"step": step, "time": 0.0, "evaluation/en/loss": loss(values, step)} for step in STEPS[:done]]
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    finished = "2026-01-01T00:00:00+00:00" if done == len(STEPS) else None
    parameters = 1000 * values.get("EncoderConfig.layers", 1)
    summary = {"languages": {}, "steps": STEPS[done - 1] if done else None, "finished": finished}
    (run_dir / "summary.json").write_text(json.dumps(summary | {"parameters": parameters}))


def loss(values: dict, step: int) -> float:
    return 1 / step + values.get("Cosine.peak", 0.0) + 0.01 * values.get("TrainerConfig.seed", 0)


def obey(run_dir: Path, values: dict) -> int:
    """Returns how many evaluations the run makes; may not return."""
    orders_file = run_dir.parent.parent / "orders.json"
    orders = json.loads(orders_file.read_text()) if orders_file.exists() else {}
    order = orders.pop(str(values.get("Cosine.peak")), None)
    if order is None:
        return len(STEPS)
    orders_file.write_text(json.dumps(orders))
    if order == "fail":
        sys.exit("m5jax: error: no such thing")
    write_run(run_dir, values, done=1)
    if order == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
    (run_dir.parent.parent / "waiting").touch()
    time.sleep(60)
    sys.exit("was not asked to end")


def evaluate(run_dir: Path, name: str, words: list[str]) -> int:
    values = dict(line.split(" = ") for line in (run_dir / "config.gin").read_text().splitlines())
    figure = {"value": 1 - float(values["Cosine.peak"]), "low": None, "high": None, "count": 9}
    folder = run_dir / "evaluations" / name
    folder.mkdir(parents=True)
    facts = {"fingerprint": "f", "command": shlex.join(["m5jax", *words])}
    report = {"format": "m5jax evaluation", "version": 1, "title": name, "kind": "pairs", "facts": facts}
    report |= {"groups": [{"name": "all", "metrics": {"f1": figure}}]}
    report |= {"curves": [], "matrices": [], "examples": [], "notes": []}
    (folder / "report.json").write_text(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

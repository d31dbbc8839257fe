"""A trial that takes no time: writes a curve of its values' making, and does what it is told to do on the way.

    fake_run.py train --do=TRIAL:STEP:ACTION ... --gin.x=0.5 --gin.y=2 --gin.kind='a' --gin.RUN_DIR='DIR'
    fake_run.py finetune ... --run_dir=DIR

Goes on where an earlier process of the trial ended; each action is done once, unless it ends in `_always`.
"""

import ast
import json
import os
import signal
import sys
import time
from pathlib import Path

STEPS = (10, 20, 30, 40)


def main(arguments):
    values = {}
    for argument in arguments:
        if argument.startswith("--gin."):
            name, _, text = argument.removeprefix("--gin.").partition("=")
            values[name] = ast.literal_eval(text)
        if argument.startswith("--run_dir="):
            values["RUN_DIR"] = argument.removeprefix("--run_dir=")
    run_dir = Path(values.pop("RUN_DIR"))
    actions = dict(
        argument.removeprefix("--do=").rpartition(":")[::2] for argument in arguments if argument.startswith("--do=")
    )
    run_dir.mkdir(exist_ok=True)
    (run_dir / "values.json").write_text(json.dumps(values))
    metrics = run_dir / "metrics.jsonl"
    lines = [json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else []
    done = max((line["step"] for line in lines if "evaluation/en/loss" in line), default=0)
    with metrics.open("w") as file:
        for line in lines:
            if line["step"] <= done:
                write(file, line["step"], line)
        for step in STEPS:
            if step <= done:
                continue
            write(file, step, {"train/loss": 1.0})
            act(actions.get(f"{int(run_dir.name)}:{step}"), run_dir, file, step)
            overfitted = 1.0 if "overfits" in arguments and step == STEPS[-1] else 0.0
            write(file, step, {"evaluation/en/loss": loss(values, step) + overfitted, "evaluation/en/accuracy": 0.5})
        if "long" in arguments:
            act("wait", run_dir, file, step)
    if arguments[0] == "finetune":
        written = [json.loads(line) for line in metrics.read_text().splitlines()]
        losses = {line["step"]: line["evaluation/en/loss"] for line in written if "evaluation/en/loss" in line}
        (run_dir / "fine_tuned").mkdir(exist_ok=True)
        result = {"step": min(losses, key=losses.get), "metrics": {}}
        (run_dir / "fine_tuned" / "result.json").write_text(json.dumps(result))
    return 0


def loss(values, step):
    """Lower is better; near 0 at x = 0.3, and the more steps the lower."""
    return (values["x"] - 0.3) ** 2 + 0.1 * abs(values.get("y", 0)) + 1 / step


def write(file, step, values):
    file.write(json.dumps({"time": 0.0} | values | {"step": step}) + "\n")
    file.flush()


def act(action, run_dir, file, step):
    if action is None:
        return
    marker = run_dir.with_suffix(f".{action}")
    if marker.exists() and not action.endswith("_always"):
        return
    marker.touch()
    if action.startswith("fail"):
        sys.exit("starting\nm5jax: error: no such thing\nlibrary: goodbye")
    if action.startswith("diverge"):
        write(file, step, {"train/loss": "NaN"})
        sys.exit(2)
    if action.startswith("kill_itself"):
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "kill_worker":
        os.kill(os.getppid(), signal.SIGKILL)
        until = time.monotonic() + 60
        while not run_dir.with_suffix(".released").exists() and time.monotonic() < until:
            time.sleep(0.01)
    if action == "end_early":
        sys.exit(0)
    if action == "stopped_from_outside":
        sys.exit(75)
    if action == "stop_study":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
        os.kill(os.getppid(), signal.SIGTERM)
    if action in ("stop_study", "wait"):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
        time.sleep(60)  # until it is asked to end
        sys.exit("was not asked to end")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Speed of the train step alone and of the whole training loop, of encoders and encoder-decoders, in tokens a second.

    python benchmarks/train_step.py
    python benchmarks/train_step.py --huggingface        # beside PyTorch; needs pip install 'm5jax[huggingface]'

Synthetic tokens, of encoders 15% predicted, of encoder-decoders inputs and targets counted; AdamW with clipping;
float32 on CPU, bfloat16 products on GPU and TPU. What is compared runs in turn in processes of their own, a few steps
at a time, so that a change of the machine's load hits all alike; a ratio is the median over such pairs. The first
step of a turn does not count: a virtual machine takes back memory that lies idle, and getting it again made single
steps in turn 1.7 times as slow as the same steps on end.

A size's figures replace those it had in the JSON; the others stay.
"""

import argparse
import dataclasses
import importlib.util
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that an accelerator node needs no installation

import jax
import numpy as np

from benchmarks.environment import environment, usable_cores
from m5jax.data.packing import prediction_budget
from m5jax.models import EncoderConfig, EncoderDecoderConfig, FunctionalModel
from m5jax.objectives import LanguageModel, SequenceToSequence
from m5jax.training.loop import Batches, TrainerConfig, Training, train
from m5jax.training.optimizers import AdamW
from m5jax.training.schedules import Cosine
from m5jax.training.state import TrainState, abstract_state, init_state
from m5jax.training.step import jit_train_step, make_train_step
from partitioning import MeshConfig, batch_sharding, make_mesh, peak_flops

MASKING_RATE = 0.15
MASK, FIRST_TEXT_ID = 3, 400
LOG_EVERY = 10
STEPS_A_TURN = 3
LOOP_ROUNDS = 3
MIXTURE = "embedded_catalog_mlm"
BASE = {"vocab_size": 32_000, "width": 768, "layers": 12, "heads": 12, "mlp_hidden": 1152}
T5_SMALL = {"vocab_size": 32_128, "width": 512, "encoder_layers": 8, "decoder_layers": 8, "heads": 6, "head_dim": 64}
T5_SMALL |= {"mlp_hidden": 1024}


@dataclasses.dataclass(frozen=True)
class Size:
    """What is timed: a model and the rows of a batch; `targets_length` is an encoder-decoder's."""

    config: EncoderConfig | EncoderDecoderConfig
    batch_size: int
    length: int
    targets_length: int = 0

    @property
    def tokens(self) -> int:
        return self.batch_size * (self.length + self.targets_length)

    @property
    def flops_per_token(self) -> float:
        predicted = self.targets_length or prediction_budget(self.length, MASKING_RATE)
        return self.config.flops_per_token(self.length, predicted / self.length)

    @property
    def objective(self) -> LanguageModel | SequenceToSequence:
        return SequenceToSequence() if self.targets_length else LanguageModel()


SIZES = {
    "quickstart": Size(EncoderConfig(vocab_size=4096, width=128, layers=4, heads=4, mlp_hidden=256), 16, 256),
    "base-128": Size(EncoderConfig(**BASE), 8, 128),
    "base-512": Size(EncoderConfig(**BASE), 8, 512),
    # T5 1.1 small (arXiv 2002.05202) on its batches of span corruption.
    "t5-small": Size(EncoderDecoderConfig(**T5_SMALL), 8, 512, 114),
}
OPTIMIZER = AdamW(Cosine(peak=1e-4, warmup_steps=10, total_steps=100_000))


def random_batch(size: Size, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns full rows of random tokens, of which exactly the masking rate is predicted, or with random targets."""
    random = np.random.default_rng(seed)
    if size.targets_length:
        return _random_pairs(size, random)
    rows, length = size.batch_size, size.length
    budget, predicted = prediction_budget(length, MASKING_RATE), round(length * MASKING_RATE)
    tokens = random.integers(FIRST_TEXT_ID, size.config.vocab_size, (rows, length), dtype=np.int32)
    places = np.tile(np.arange(length, dtype=np.int32), (rows, 1))
    masked = np.zeros((rows, budget), np.int32)
    masked[:, :predicted] = np.sort(random.permuted(places, axis=1)[:, :predicted], axis=1)
    weights = np.tile((np.arange(budget) < predicted).astype(np.float32), (rows, 1))
    inputs = tokens.copy()
    np.put_along_axis(inputs, masked[:, :predicted], MASK, axis=1)
    return {
        "inputs": inputs,
        "segment_ids": np.ones_like(tokens),
        "positions": places,
        "predicted_positions": masked,
        "targets": (np.take_along_axis(tokens, masked, axis=1) * weights).astype(np.int32),
        "loss_weights": weights,
    }


def _random_pairs(size: Size, random: np.random.Generator) -> dict[str, np.ndarray]:
    def side(length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        shape = (size.batch_size, length)
        tokens = random.integers(FIRST_TEXT_ID, size.config.vocab_size, shape, dtype=np.int32)
        return tokens, np.ones(shape, np.int32), np.tile(np.arange(length, dtype=np.int32), (size.batch_size, 1))

    batch = dict(zip(("inputs", "segment_ids", "positions"), side(size.length), strict=True))
    batch |= zip(("targets", "target_segment_ids", "target_positions"), side(size.targets_length), strict=True)
    return batch | {"loss_weights": batch["target_segment_ids"].astype(np.float32)}


class Contender:
    """A process that builds what `make(size)` returns and then runs it each time it is asked to.

    `make` returns a function without arguments, and facts about the device.
    """

    def __init__(self, make: Callable[..., Any], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would share the threads of JAX
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
        self._process.start()
        theirs.close()  # so that the end of the process is an end of file here
        self.facts: dict[str, Any] = self._connection.recv()

    def run(self) -> tuple[float, Any]:
        """Returns the seconds of one run and what it returned."""
        self._connection.send(None)
        return self._connection.recv()

    def close(self) -> None:
        self._connection.close()
        self._process.join()


def _serve(connection: Connection, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    function, facts = make(*arguments)
    connection.send(facts)
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        started = time.perf_counter()
        returned = function()
        connection.send((time.perf_counter() - started, returned))


def make_step(size: Size) -> tuple[Callable[[], float], dict[str, Any]]:
    """Returns a function that takes one compiled step, waits for it and returns the loss."""
    batch = random_batch(size)
    model, mesh = FunctionalModel.from_config(size.config), make_mesh(MeshConfig())
    transformation = OPTIMIZER.make(model.logical_axes, model.width_multiple)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract_state(model, transformation, mesh))

    def init(key: jax.Array) -> TrainState:
        return init_state(model, transformation, key)

    with jax.set_mesh(mesh):
        state = jax.jit(init, out_shardings=shardings)(jax.random.key(0))
        arrays = jax.device_put(batch, batch_sharding(mesh))
        step = jit_train_step(make_train_step(model, size.objective, transformation), shardings, mesh)
        compiled = step.lower(state, arrays).compile()
    kept = [state]

    def take() -> float:
        kept[0], metrics = compiled(kept[0], arrays)
        return float(metrics["loss"].total / metrics["loss"].weight)

    return take, _device_facts()


def make_huggingface_step(size: Size, tuned: bool) -> tuple[Callable[[], float], dict[str, Any]]:
    from benchmarks import huggingface_step

    return huggingface_step.make_step(size.config, random_batch(size), usable_cores(), tuned), {}


def make_loop(
    size: Size, source: Callable[[Size], Batches], intervals: int
) -> tuple[Callable[[], float], dict[str, Any]]:
    """Returns a function that runs `train` and returns the seconds of a step of it."""
    batches = source(size)
    return lambda: time_loop(size, batches, intervals), {}


def _device_facts() -> dict[str, Any]:
    device = jax.devices()[0]
    peak = peak_flops(device)
    count = jax.device_count()
    return {"device": device.device_kind, "devices": count, "peak": peak * count if peak else None}


def time_in_turn(contenders: dict[str, Contender], steps: int) -> dict[str, np.ndarray]:
    """Returns the seconds of each of at least `steps` steps, `STEPS_A_TURN` at a time."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(-(-steps // STEPS_A_TURN)):
        for name, contender in contenders.items():
            contender.run()
            seconds[name] += [contender.run()[0] for _ in range(STEPS_A_TURN)]
    return {name: np.array(values) for name, values in seconds.items()}


class InMemoryBatches:
    """The same batches over and over."""

    of_all_processes = True

    def __init__(self, size: Size):
        self._batches = [random_batch(size, seed) for seed in range(8)]
        self._index = 0

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        self._index += 1
        return self._batches[self._index % len(self._batches)]

    def save(self, directory: Path) -> None:
        (directory / "index").write_text(str(self._index))

    def restore(self, directory: Path) -> None:
        self._index = int((directory / "index").read_text())


def live_batches(size: Size) -> Batches:
    """Returns the batches a quickstart trains on: read, tokenized, masked and packed as it goes."""
    import tasks  # noqa: F401  registers the tasks
    from m5jax.data.default_vocabulary import default_vocabulary
    from m5jax.data.pipeline import training_batches
    from m5jax.data.vocabulary import set_current_vocabulary

    set_current_vocabulary(default_vocabulary(MIXTURE))
    return training_batches(MIXTURE, length=size.length, batch_size=size.batch_size, seed=0)


def time_loop(size: Size, batches: Batches, intervals: int) -> float:
    """Returns the seconds of a step of `train`: median of its logged intervals, first of them left out."""
    with tempfile.TemporaryDirectory() as directory:
        run_dir = Path(directory)
        train(
            Training(
                run_dir=run_dir,
                model=FunctionalModel.from_config(size.config),
                objective=size.objective,
                optimizer=OPTIMIZER,
                mesh=make_mesh(MeshConfig()),
                config=TrainerConfig(steps=LOG_EVERY * (intervals + 1), log_every=LOG_EVERY),
                batches=batches,
                batch_size=size.batch_size,
                evaluate=lambda parameters: {},
                flops_per_token=size.flops_per_token,
            )
        )
        lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    seconds = [line["speed/seconds_per_step"] for line in lines if "speed/seconds_per_step" in line]
    return float(np.median(seconds[1:]))


def measure(name: str, size: Size, arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns and prints all figures of one size."""
    own = Contender(make_step, size)
    steps = {"m5jax step": own}
    if arguments.huggingface:
        steps["Hugging Face"] = Contender(make_huggingface_step, size, False)
        steps["Hugging Face tuned"] = Contender(make_huggingface_step, size, True)
    length = f"({size.length}, {size.targets_length})" if size.targets_length else str(size.length)
    print(f"\n{name}: batch {size.batch_size} x {length}, {size.flops_per_token / 1e6:,.0f} MFLOP a token")
    seconds = time_in_turn(steps, arguments.steps)
    peak = own.facts["peak"]
    rows = [_row(step, size, values, values / seconds["m5jax step"], peak) for step, values in seconds.items()]
    for contender in list(steps.values())[1:]:
        contender.close()
    rows += _loop_rows(name, size, own, arguments.loop_intervals)
    own.close()
    return {"size": dataclasses.asdict(size), "flops_per_token": size.flops_per_token, **own.facts, "rows": rows}


def _loop_rows(name: str, size: Size, own: Contender, intervals: int) -> list[dict[str, Any]]:
    """Times the loop between blocks of half as many steps alone."""
    if not intervals:
        return []
    if importlib.util.find_spec("tensorboardX") is None:
        print("the loop is left out: it logs through tensorboardX, which is not installed")
        return []
    sources: dict[str, Callable[[Size], Batches]] = {"m5jax loop": InMemoryBatches}
    if name == "quickstart" and importlib.util.find_spec("seqio") is not None:
        sources["m5jax loop, live input"] = live_batches
    rows = []
    for label, source in sources.items():
        loop = Contender(make_loop, size, source, intervals)
        alone, seconds = [_median_step(own, intervals)], []
        for _ in range(LOOP_ROUNDS):
            seconds.append(loop.run()[1])
            alone.append(_median_step(own, intervals))
        loop.close()
        ratios = np.array(seconds) / (0.5 * (np.array(alone[:-1]) + np.array(alone[1:])))
        rows.append(_row(label, size, np.array(seconds), ratios, own.facts["peak"]))
    return rows


def _median_step(own: Contender, intervals: int) -> float:
    own.run()
    return float(np.median([own.run()[0] for _ in range(LOG_EVERY * intervals // 2)]))


def _row(name: str, size: Size, seconds: np.ndarray, ratios: np.ndarray, peak: float | None) -> dict[str, Any]:
    """Returns and prints one line: speed, quartiles of the step time, and time relative to m5jax's step alone."""
    speed = size.tokens / float(np.median(seconds))
    low, high = (float(np.quantile(seconds, share)) for share in (0.25, 0.75))
    ratio, achieved = float(np.median(ratios)), speed * size.flops_per_token
    share = achieved / peak if peak else None
    print(
        f"  {name:<24}{speed:>12,.0f} tokens/s  {1e3 * low:>9,.1f} to {1e3 * high:>9,.1f} ms  x{ratio:<6.3f}"
        f"{achieved / 1e9:>10,.0f} GFLOP/s" + (f"  {share:.1%} of peak" if share else ""),
        flush=True,
    )
    return {
        "name": name,
        "tokens_per_second": speed,
        "seconds_quartiles": [low, high],
        "time_relative_to_step": ratio,
        "ratio_quartiles": [float(np.quantile(ratios, 0.25)), float(np.quantile(ratios, 0.75))],
        "flops_per_second": achieved,
        "share_of_peak": share,
        "repetitions": len(seconds),
    }


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), help="default: all")
    parser.add_argument("--batch_size", type=int, help="rows a batch, instead of the size's own")
    parser.add_argument("--steps", type=int, default=10, help="steps timed of each kind (%(default)s)")
    parser.add_argument(
        "--loop_intervals",
        type=int,
        default=3,
        help=f"of {LOG_EVERY} steps, {LOOP_ROUNDS} times; 0: no loop (%(default)s)",
    )
    parser.add_argument("--huggingface", action="store_true", help="compare with ModernBERT and T5 on PyTorch")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).with_name("results") / "train_step.json", help="JSON to write"
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    # Several processes share an accelerator here; JAX would take most of its memory for the first.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    results = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    for name in arguments.sizes:
        size = SIZES[name]
        if arguments.batch_size:
            size = dataclasses.replace(size, batch_size=arguments.batch_size)
        results[name] = {"environment": environment(), **measure(name, size, arguments)}
        arguments.output.write_text(json.dumps(results, indent=2) + "\n")
    print(f"\nwritten to {arguments.output}")


if __name__ == "__main__":
    main()

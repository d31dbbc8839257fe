"""Speed of the live input pipeline by stage, in tokens per second of one core, and how full packing leaves the rows.

    python benchmarks/data_pipeline.py
    M5JAX_DATA=/path/to/data python benchmarks/data_pipeline.py --records 20000

Stages are timed one after the other: each run goes over the same records up to and including one more stage, and the
difference in processor time is that stage's cost; packing includes making batches. "training batches" is the whole
pipeline as a training run uses it: shuffled, mixed, on all threads, handed to Python.
"""

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import seqio
import tensorflow as tf

from benchmarks.environment import environment
from benchmarks.mixtures import EMBEDDED, REAL, real_text_vocabulary
from m5jax.data.corpus_source import CorpusDataSource
from m5jax.data.default_vocabulary import default_vocabulary
from m5jax.data.evaluation_batches import evaluation_batches
from m5jax.data.feature_converter import LanguageModelFeatureConverter
from m5jax.data.labels import mixture_labels
from m5jax.data.masking_policy import BERT_MASKING
from m5jax.data.mixtures import find_tasks
from m5jax.data.packing import prediction_budget
from m5jax.data.pipeline import training_batches
from m5jax.data.row_shape import targets_are_aligned
from m5jax.data.vocabulary import set_current_vocabulary

LENGTHS = (128, 512)
BATCH_SIZE = 32
STAGES = ("read", "serialize", "tokenize", "end of sequence", "split", "mask", "pack")
# A stage's cost is a difference of two times; below this share of the whole it says nothing.
NOISE = 0.02


@dataclasses.dataclass(frozen=True)
class StageSpeed:
    task: str
    length: int
    stage: str
    tokens: int
    processor_seconds: float
    # None where the stage costs less than the noise of the measurement.
    tokens_per_second_per_core: float | None


@dataclasses.dataclass(frozen=True)
class PackingFill:
    task: str
    length: int
    tokens: int
    rows: int
    padding_percent: float
    padding_percent_unpacked: float
    budget: int
    predictions_per_row: float


def stage_datasets(task: seqio.Task, length: int, records: int, seed: int) -> Iterable[tf.data.Dataset]:
    """Yields the task's dataset up to each stage of STAGES."""
    dataset = task.source.get_dataset("train", shuffle=False).take(records)
    yield dataset
    lengths = dict.fromkeys(task.output_features, length)
    with seqio.utils.map_seed_manager(seed):
        for step in task.preprocessors:
            if isinstance(step, seqio.CacheDatasetPlaceholder):
                continue
            dataset = seqio.utils.add_kwargs_to_transform(
                step, sequence_length=lengths, output_features=task.output_features
            )(dataset)
            yield dataset
    numbered = dataset.map(lambda example: example | {"task": 0})
    budget = prediction_budget(length, BERT_MASKING.rate)
    yield LanguageModelFeatureConverter({task.name: True}, budget)(numbered, lengths | {"task": 1})


def processor_seconds(dataset: tf.data.Dataset) -> float:
    """Returns the processor time of going through a dataset once, on one thread."""
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.threading.max_intra_op_parallelism = 1
    started = time.process_time()
    # Counted inside TensorFlow and by the batch: a call for every example would cost more than some of the stages.
    batches = dataset.ragged_batch(256).with_options(options)
    batches.reduce(0, lambda count, _: count + 1).numpy()
    return time.process_time() - started


def time_stages(task: seqio.Task, length: int, records: int, repetitions: int, seed: int) -> list[StageSpeed]:
    """Returns the speed of each stage alone (fastest of the repetitions) and of all of them."""
    datasets = list(stage_datasets(task, length, records, seed))
    tokens = int(datasets[-2].reduce(0, lambda count, example: count + tf.size(example["inputs"])).numpy())
    times = [min(processor_seconds(dataset) for _ in range(repetitions)) for dataset in datasets]
    speeds, before = [], 0.0
    for stage, seconds in zip(STAGES, times, strict=True):
        alone = max(seconds - before, 0.0)
        measurable = alone > NOISE * times[-1]
        speeds.append(StageSpeed(task.name, length, stage, tokens, alone, tokens / alone if measurable else None))
        before = max(before, seconds)
    speeds.append(StageSpeed(task.name, length, "all stages", tokens, times[-1], tokens / times[-1]))
    return speeds


def time_training(name: str, length: int, batches: int, seed: int) -> StageSpeed:
    """Returns the speed of `training_batches`, shuffled and mixed, in processor time of all threads."""
    written = not all(map(targets_are_aligned, find_tasks(name)))
    shape = {"length": length, "targets_length": length // 2 if written else 0}
    iterator = training_batches(name, **shape, batch_size=BATCH_SIZE, seed=seed)
    next(iterator)
    started = time.process_time()
    tokens = sum(int((next(iterator)["segment_ids"] > 0).sum()) for _ in range(batches))
    seconds = time.process_time() - started
    return StageSpeed(name, length, "training batches", tokens, seconds, tokens / seconds)


def measure_packing(name: str, length: int, examples: int | None) -> PackingFill:
    """Returns how many of the tokens in the rows are padding, with packing and without."""
    tokens = rows = predictions = unpacked_rows = 0
    for batch in evaluation_batches(name, length=length, batch_size=256, split="train", max_examples=examples):
        real = batch["segment_ids"] > 0
        tokens += int(real.sum())
        rows += int(real.any(axis=1).sum())
        # Each example would have a row of its own.
        unpacked_rows += int(batch["segment_ids"].max(axis=1).sum())
        predictions += int(batch["loss_weights"].sum())
    return PackingFill(
        name,
        length,
        tokens,
        rows,
        padding_percent=100.0 * (1.0 - tokens / (rows * length)),
        padding_percent_unpacked=100.0 * (1.0 - tokens / (unpacked_rows * length)),
        budget=prediction_budget(length, BERT_MASKING.rate),
        predictions_per_row=predictions / rows,
    )


def measure(name: str, vocabulary: Path, arguments: argparse.Namespace) -> tuple[list[StageSpeed], list[PackingFill]]:
    """Measures the stages of each task of a masked-LM mixture, and training batches of every family, at each length."""
    set_current_vocabulary(vocabulary)
    speeds: list[StageSpeed] = []
    fills: list[PackingFill] = []
    for length in LENGTHS:
        for task in find_tasks(name):
            assert isinstance(task.source, CorpusDataSource)
            speeds += time_stages(task, length, arguments.records, arguments.repetitions, arguments.seed)
            fills.append(measure_packing(task.name, length, arguments.packed_examples))
        for family in EMBEDDED if name in EMBEDDED else REAL:
            set_current_vocabulary(vocabulary, mixture_labels(family))
            speeds.append(time_training(family, length, arguments.batches, arguments.seed))
        set_current_vocabulary(vocabulary)
    return speeds, fills


def print_tables(speeds: list[StageSpeed], fills: list[PackingFill]) -> None:
    """Prints the figures in columns."""
    print(f"\n{'task':<28}{'length':>7}  {'stage':<18}{'tokens':>12}{'seconds':>10}{'tokens/s/core':>16}")
    for speed in speeds:
        rate = speed.tokens_per_second_per_core
        print(
            f"{speed.task:<28}{speed.length:>7}  {speed.stage:<18}{speed.tokens:>12,}{speed.processor_seconds:>10.3f}"
            + (f"{rate:>16,.0f}" if rate else f"{'within noise':>16}")
        )
    print(f"\n{'task':<28}{'length':>7}{'tokens':>12}{'padding':>10}{'unpacked':>10}{'budget':>8}{'predicted':>11}")
    for fill in fills:
        print(
            f"{fill.task:<28}{fill.length:>7}{fill.tokens:>12,}{fill.padding_percent:>9.2f}%"
            f"{fill.padding_percent_unpacked:>9.1f}%{fill.budget:>8}{fill.predictions_per_row:>11.1f}"
        )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=5_000, help="records a stage is timed on (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=3, help="runs of which the fastest counts (%(default)s)")
    parser.add_argument("--batches", type=int, default=300, help="training batches to time (%(default)s)")
    parser.add_argument(
        "--packed_examples", type=int, default=20_000, help="examples to measure packing on (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of masks, order and vocabulary sample (%(default)s)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).with_name("results") / "data_pipeline.json",
        help="JSON file to write (%(default)s)",
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    vocabularies = {"embedded_catalog_mlm": lambda: default_vocabulary("embedded_catalog_mlm")}
    if os.environ.get("M5JAX_DATA"):
        vocabularies["multilingual_text_mlm"] = lambda: real_text_vocabulary("multilingual_text_mlm", arguments.seed)
    speeds: list[StageSpeed] = []
    fills: list[PackingFill] = []
    for name, vocabulary in vocabularies.items():
        new_speeds, new_fills = measure(name, vocabulary(), arguments)
        print_tables(new_speeds, new_fills)
        speeds += new_speeds
        fills += new_fills
    result = {
        "environment": environment(),
        "seed": arguments.seed,
        "stages": [dataclasses.asdict(speed) for speed in speeds],
        "packing": [dataclasses.asdict(fill) for fill in fills],
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"\nwritten to {arguments.output}")


if __name__ == "__main__":
    main()

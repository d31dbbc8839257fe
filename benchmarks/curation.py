"""Scores of planted records, and how often a curated task samples what it weighs.

    M5JAX_DATA=/path/to/data python benchmarks/curation.py

adds records of four kinds to the ordinary ones of a corpus: copies of a few boilerplate texts; one text with a random
number of six digits in each (template); ordinary texts whose characters are shuffled (characters); and random words of
ordinary texts (words). It trains a small encoder on all of them, and scores them. `auc` is the share of pairs of a
planted and an ordinary record in which the planted one has the lower (copies, template) or higher (the others) loss;
records without a predicted token have no loss and are left out of it. Corpora: English web text, the beginnings of real
documents, where M5JAX_DATA is set; and the English products of the embedded catalog, which are so regular that anything
else is harder. Then records are drawn from the curated task: `z` is the difference between observed and expected draws
of a group in standard deviations, and a run is sound while none is beyond 4.
"""

import argparse
import itertools
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import seqio

import tasks  # noqa: F401  registers the tasks
from benchmarks.environment import environment
from m5jax.cli.main import main as main_command
from m5jax.configuration.score import score_task
from m5jax.data.corpus import Corpus, ingest_corpus
from m5jax.data.curation import add_curated_task
from m5jax.data.default_vocabulary import register_default_vocabulary
from m5jax.data.embedded_catalog.corpus import embedded_catalog_corpus, embedded_catalog_vocabulary
from m5jax.data.hard_examples import HardExamples
from m5jax.data.records import TextRecord
from m5jax.data.scores import read_scores, record_keys
from m5jax.data.task_builders import OBJECTIVES, add_task
from m5jax.data.vocabulary import train_vocabulary

TEXTS, CHARACTERS, WORDS = 1_800, 500, 30
VOCABULARY_SIZE = 3_000
PLANTED = 150  # of each kind
LENGTH = 128
RULE = HardExamples(drop_easiest=0.1, exponent=1.0, max_weight=4.0, drop_hardest=0.1)
BOILERPLATE = (
    "Please read our terms and conditions before you buy. All prices include tax, and shipping is free.",
    "This shop uses cookies. You agree to our use of cookies when you go on to any other page.",
    "Returns are accepted within thirty days. Goods must be unused and in their original packaging.",
    "Sign in to see your orders, to write a review, or to ask the seller a question about this product.",
    "We could not find the page that you asked for. Go back to the start page, or use the search above.",
)
TEMPLATE = "Thank you for visiting our store. Returns are accepted within thirty days. Article number {number}."


def planted_texts(ordinary: list[str], seed: int) -> dict[str, list[str]]:
    """Returns the texts of each group."""
    generator = random.Random(seed)
    words = [word for text in ordinary for word in text.split()]
    noise = []
    for text in generator.sample(ordinary, PLANTED):
        characters = [character for character in text if character not in "<>"]
        generator.shuffle(characters)
        noise.append("".join(characters))
    return {
        "ordinary": ordinary,
        "copies": [BOILERPLATE[number % len(BOILERPLATE)] for number in range(PLANTED)],
        "template": [TEMPLATE.format(number=generator.randrange(10**5, 10**6)) for _ in range(PLANTED)],
        "characters": noise,
        "words": [" ".join(generator.choices(words, k=WORDS)) for _ in range(PLANTED)],
    }


def ordinary_texts() -> dict[str, list[str]]:
    """Returns the ordinary texts of each corpus."""
    corpora = {"embedded catalog": list(embedded_catalog_corpus().texts("en", "train"))}
    if os.environ.get("M5JAX_DATA"):
        source = seqio.TaskRegistry.get("text_en_mlm").source
        texts = itertools.islice(source.corpus().texts("en", "train"), TEXTS)
        corpora = {"web text": [text[:CHARACTERS] for text in texts], **corpora}
    return corpora


def area_under_curve(higher: np.ndarray, lower: np.ndarray) -> float:
    """Returns the share of pairs of losses in which the first is higher, ties for half."""
    higher, lower = (losses[~np.isnan(losses)] for losses in (higher, lower))
    ascending = np.sort(lower)
    places = (np.searchsorted(ascending, higher, "left") + np.searchsorted(ascending, higher, "right")) / 2
    return float(places.mean() / len(lower))


def register(name: str, texts: dict[str, list[str]], directory: Path) -> None:
    """Registers the task over all texts, and the curated one over its scores in `directory`."""
    lines = [json.dumps({"text": text, "lang": "en"}) + "\n" for group in texts.values() for text in group]
    random.Random(0).shuffle(lines)
    (directory / "texts.jsonl").write_text("".join(lines), encoding="utf-8")

    def corpus() -> Corpus:
        return ingest_corpus(name, {"train": directory / "texts.jsonl"}, "text", cache_dir=directory)

    def vocabulary() -> Path:
        path = directory / "vocabulary.model"
        if not path.is_file():
            every = [text for group in texts.values() for text in group]
            train_vocabulary({"en": every}, {"en": len(every)}, size=VOCABULARY_SIZE, output=path)
        return path

    add_task(name, corpus, "en", OBJECTIVES["mlm"])
    register_default_vocabulary(name, embedded_catalog_vocabulary if "catalog" in name else vocabulary)
    add_curated_task(f"{name}_hard", name, directory / "scores.parquet", RULE)


def train_and_score(task: str, directory: Path, steps: int, seed: int) -> dict[str, float]:
    """Trains on all texts and writes their scores; returns the seconds of both."""
    started = time.perf_counter()
    settings = {
        "RUN_DIR": f"'{directory / 'run'}'",
        "MIXTURE": f"'{task}'",
        "TRAIN_STEPS": steps,
        "LENGTH": LENGTH,
        "TrainerConfig.evaluate_every": 0,
        "TrainerConfig.seed": seed,
        "DataConfig.seed": seed,
    }
    flags = [f"--gin.{name}={value}" for name, value in settings.items()]
    if main_command(["train", "--gin_file=gin_configs/experiments/quickstart.gin", *flags]):
        raise SystemExit("the training failed")
    trained = time.perf_counter()
    score_task(directory / "run", task, directory / "scores.parquet")
    return {"training": round(trained - started, 1), "scoring": round(time.perf_counter() - trained, 1)}


def sampled(task_name: str, keys: np.ndarray, passes: int, seed: int) -> np.ndarray:
    """Returns how often each record is drawn in a number of passes."""
    task = seqio.TaskRegistry.get(task_name)
    with seqio.utils.map_seed_manager(seed):
        drawn = task.preprocessors[0](task.source.get_dataset("train", shuffle=False).repeat(passes))
    own = record_keys(line for line in drawn.as_numpy_iterator())
    counts = dict(zip(*(array.tolist() for array in np.unique(own, return_counts=True)), strict=True))
    # Records of equal lines share their draws.
    _, place, copies = np.unique(keys, return_inverse=True, return_counts=True)
    return np.array([counts.get(key, 0) for key in keys.tolist()]) / copies[place]


def group_figures(losses: np.ndarray, weights: np.ndarray, draws: np.ndarray, passes: int) -> dict[str, float]:
    """Returns what is known of the records of one group."""
    fraction = weights % 1
    deviation = np.sqrt(passes * (fraction * (1 - fraction)).sum())
    difference = draws.sum() - passes * weights.sum()
    return {
        "records": len(losses),
        "without_loss": int(np.isnan(losses).sum()),
        "median_loss": float(np.nanmedian(losses)),
        "left_out": float((weights == 0).mean()),
        "mean_weight": float(weights.mean()),
        "observed": float(draws.mean() / passes),
        "z": float(difference / deviation) if deviation else float(difference),
    }


def run(corpus: str, ordinary: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the figures of one corpus."""
    task = f"benchmark_{corpus.replace(' ', '_')}"
    texts = planted_texts(ordinary, arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        register(task, texts, Path(name))
        seconds = train_and_score(task, Path(name), arguments.steps, arguments.seed)
        scores = read_scores(Path(name) / "scores.parquet")
        weights = RULE.weights(scores.losses)
        draws = sampled(f"{task}_hard", scores.keys, arguments.passes, arguments.seed)
    member = {
        group: np.isin(scores.keys, record_keys(TextRecord(text, "en").to_json().encode("utf-8") for text in own))
        for group, own in texts.items()
    }
    losses = {group: scores.losses[own] for group, own in member.items()}
    return {
        "seconds": seconds,
        "groups": {
            group: group_figures(losses[group], weights[own], draws[own], arguments.passes)
            for group, own in member.items()
        },
        "auc": {
            "copies below ordinary": area_under_curve(losses["ordinary"], losses["copies"]),
            "template below ordinary": area_under_curve(losses["ordinary"], losses["template"]),
            "characters above ordinary": area_under_curve(losses["characters"], losses["ordinary"]),
            "words above ordinary": area_under_curve(losses["words"], losses["ordinary"]),
        },
    }


def print_figures(corpus: str, figures: dict[str, Any]) -> None:
    print(f"{corpus:<18}{'records':>8}{'loss':>7}{'left out':>10}{'weight':>8}{'observed':>10}{'z':>7}")
    for group, own in figures["groups"].items():
        print(
            f"{group:<18}{own['records']:>8}{own['median_loss']:>7.2f}{own['left_out']:>10.1%}"
            f"{own['mean_weight']:>8.3f}{own['observed']:>10.3f}{own['z']:>7.2f}"
        )
    for pair, value in figures["auc"].items():
        print(f"  {pair}: {value:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300, help="of training (%(default)s)")
    parser.add_argument("--passes", type=int, default=50, help="of the curated task (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    corpora = {}
    for corpus, ordinary in ordinary_texts().items():
        corpora[corpus] = run(corpus, ordinary, arguments)
        print_figures(corpus, corpora[corpus])
    result = {"environment": environment(), **vars(arguments), "rule": str(RULE), "corpora": corpora}
    output = Path(__file__).with_name("results") / "curation.json"
    output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written to {output}")


if __name__ == "__main__":
    main()

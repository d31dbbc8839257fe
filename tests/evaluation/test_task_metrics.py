"""A task's own metrics, against answering one example at a time."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import seqio

from m5jax.data.corpus import Corpus, ingest_corpus
from m5jax.data.evaluation_batches import evaluation_batches
from m5jax.data.labelled_examples import relevance, text_to_text
from m5jax.data.labelled_tasks import add_labelled_tasks
from m5jax.data.labels import mixture_labels
from m5jax.data.task_builders import add_pair_task
from m5jax.data.vocabulary import Vocabulary, set_current_vocabulary, train_vocabulary
from m5jax.evaluation.task_metrics import make_task_metrics
from m5jax.models import FunctionalModel, Parameters
from partitioning import MeshConfig, make_mesh
from tests.models.tiny import encoder

TASK = "tiny_shop_en_clicks"


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    directory: Path = tmp_path_factory.mktemp("shop")
    random = np.random.default_rng(0)
    words = ["red", "mug", "kettle", "blue", "glass", "tea"]
    texts = [" ".join(random.choice(words, 1 + index % 5)) for index in range(60)]
    rows = [
        {"language": "en", "query": text, "product": {"title": texts[-index]}, "label": int(random.random() < 0.4)}
        for index, text in enumerate(texts)
    ]
    (directory / "clicks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def corpus() -> Corpus:
        files = dict.fromkeys(("train", "validation"), directory / "clicks.jsonl")
        return ingest_corpus("tiny_shop", files, kind="judgement", cache_dir=directory)

    add_labelled_tasks("tiny_shop", corpus, ("en",), "clicks")
    train_vocabulary({"en": texts}, {"en": 60}, size=420, output=directory / "v.model")
    return set_current_vocabulary(directory / "v.model", mixture_labels(TASK))


def alone(
    model: FunctionalModel, parameters: Parameters, task: str, **shape: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns logits and targets of each example, in a batch and row of its own."""

    @jax.jit
    def all_logits(batch: dict[str, jax.Array]) -> jax.Array:
        module = model.bind(parameters)
        hidden = module(batch["inputs"], batch["segment_ids"], batch["positions"], None, batch.get("bidirectional"))
        return module.logits(hidden)

    found = []
    for rows in evaluation_batches(task, batch_size=1, pack=False, **shape):
        logits = np.asarray(all_logits(jax.tree.map(jnp.asarray, rows)))[0][rows["predicted_positions"][0]]
        used = rows["loss_weights"][0] > 0
        found.append((logits[used], rows["targets"][0][used]))
    return found


def test_labels_are_ranked_by_the_odds_between_them(vocabulary: Vocabulary) -> None:
    model, parameters = encoder(vocab_size=vocabulary.size + 3)
    mesh = make_mesh(MeshConfig())
    held_out = {"en": list(evaluation_batches(TASK, length=48, batch_size=8))}
    values = make_task_metrics(model, mesh, {"en": TASK}, held_out)(parameters)
    click, other = (vocabulary.label_ids[f"clicks:{label}"] for label in ("click", "no click"))
    odds, clicked = [], []
    for logits, targets in alone(model, parameters, TASK, length=48):
        odds.append(logits[-1, click] - logits[-1, other])
        clicked.append(targets[-1] == click)
    (expected,) = [
        function([["click"] if label else ["no click"] for label in clicked], odds)
        for function in seqio.TaskRegistry.get(TASK).score_metric_fns
    ]
    assert values == pytest.approx({f"evaluation/en/{name}": value for name, value in expected.items()}, rel=1e-4)
    assert 0 < sum(clicked) < len(clicked) == 60


def test_written_answers_are_the_likeliest_tokens(vocabulary: Vocabulary) -> None:
    seen: list[tuple[str, str]] = []

    def look(targets: list[list[str]], predictions: list[list[str]]) -> dict[str, float]:
        seen.extend((target[0], prediction[0]) for target, prediction in zip(targets, predictions, strict=True))
        return {"seen": float(len(targets))}

    source = seqio.TaskRegistry.get(TASK).source
    make = functools.partial(text_to_text, make=relevance)
    add_pair_task("tiny_shop_en_looked_at", source.corpus, "en", make, [look])
    model, parameters = encoder(vocab_size=vocabulary.size)
    shape = {"length": 64, "targets_length": 16}
    held_out = {"en": list(evaluation_batches("tiny_shop_en_looked_at", batch_size=8, **shape))}
    values = make_task_metrics(model, make_mesh(MeshConfig()), {"en": "tiny_shop_en_looked_at"}, held_out)(parameters)
    assert values == {"evaluation/en/seen": 60.0}
    expected = [
        (vocabulary.decode(targets), vocabulary.decode(np.argmax(logits[:, : vocabulary.text_size], axis=-1)))
        for logits, targets in alone(model, parameters, "tiny_shop_en_looked_at", **shape)
    ]
    assert sorted(seen) == sorted(expected)
    assert {target for target, _ in seen} == {"0", "1"}

"""The loss of each record, against computing one record at a time without batches, buckets or padding."""

import itertools

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from m5jax.data.examples import Example
from m5jax.data.record_examples import RecordExamples
from m5jax.evaluation.score_records import score_records
from m5jax.models import FunctionalModel, Parameters
from partitioning import tree_shardings
from tests.training.tiny import VOCAB, eight_devices, encoder, one_device

LONGEST = 64


def random_example(generator: np.random.Generator, causal: bool) -> Example:
    # Few lengths, each of which the naive computation compiles.
    length = int(generator.choice([3, 12, LONGEST]))
    targets = np.where(generator.random(length) < 0.3, generator.integers(4, VOCAB, length), 0)
    bidirectional = np.arange(length) < length // 2 if causal else np.ones(length)
    return Example(
        generator.integers(4, VOCAB, length).astype(np.int32), targets.astype(np.int32), bidirectional.astype(np.int32)
    )


def random_records(count: int, causal: bool = False) -> list[RecordExamples]:
    """Of several examples or of none."""
    generator = np.random.default_rng(count)
    return [
        RecordExamples(
            number,
            [random_example(generator, causal) for _ in range(generator.integers(0, 4))],
        )
        for number in range(count)
    ]


def naive_scores(model: FunctionalModel, parameters: Parameters, records: list[RecordExamples]) -> list[list[float]]:
    """Returns the losses of each record's predictions."""

    @jax.jit
    def logits_of(*rows: jax.Array) -> jax.Array:
        module = model.bind(parameters)
        return module.logits(module(*rows[:3], None, rows[3]))

    scores = []
    for record in records:
        losses: list[float] = []
        for example in record.examples:
            length = len(example.inputs)
            ones, positions = np.ones(length, np.int32), np.arange(length, dtype=np.int32)
            rows = (example.inputs, ones, positions, example.bidirectional)
            logits = np.asarray(logits_of(*(row[None] for row in rows)), np.float64)[0]
            normalizer = np.log(np.exp(logits).sum(axis=-1))
            losses += [
                normalizer[place] - logits[place, example.targets[place]] for place in positions[example.targets > 0]
            ]
        scores.append(losses)
    return scores


@pytest.fixture(scope="module")
def model() -> FunctionalModel:
    return encoder(max_length=LONGEST)


@pytest.fixture(scope="module")
def parameters(model: FunctionalModel) -> Parameters:
    # Larger than at the start of a training, so that losses differ.
    return jax.tree.map(lambda leaf: 3 * leaf, model.init(jax.random.key(0)))


@pytest.mark.parametrize(("mesh", "causal"), [(one_device(), False), (one_device(), True), (eight_devices(), False)])
def test_scores_are_those_of_each_record_alone(
    model: FunctionalModel, parameters: Parameters, mesh: Mesh, causal: bool
) -> None:
    records = random_records(50, causal)
    placed = jax.device_put(parameters, tree_shardings(mesh, model.abstract_parameters, model.logical_axes))
    parts = list(score_records(iter(records), model, placed, mesh, batch_size=3))
    assert len(parts) > 1
    keys, counts, losses = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    assert keys.tolist() == [record.key for record in records]
    expected = naive_scores(model, parameters, records)
    assert counts.tolist() == [len(own) for own in expected]
    np.testing.assert_allclose(losses, [np.mean(own) if own else np.nan for own in expected], rtol=1e-5)
    assert np.isnan(losses).any()
    assert np.nanstd(losses) > 0.3


def test_records_are_read_as_they_are_needed(model: FunctionalModel, parameters: Parameters) -> None:
    """Memory does not grow with their number: no more than a chunk is taken ahead."""
    taken = itertools.count()
    record = random_records(7)[-1]

    def endless():  # type: ignore[no-untyped-def]
        while True:
            yield record._replace(key=next(taken))

    scores = score_records(endless(), model, parameters, one_device(), batch_size=2)
    assert next(scores).keys[0] == 0
    assert next(taken) <= 2 * 16

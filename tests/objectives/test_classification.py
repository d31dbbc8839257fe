import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, log_softmax

from m5jax.errors import UserError
from m5jax.models.classifier import ClassLogits
from m5jax.objectives import Classification, Regression, YesOrNo

ROWS, LENGTH, CLASSES, TAGS = 4, 5, 3, 6


class FixedLogits:
    """Stands for a model that says what is given."""

    def __init__(self, classes=None, tags=None):
        self.logits = ClassLogits(*(None if given is None else jnp.asarray(given) for given in (classes, tags)))

    def __call__(self, inputs, segment_ids, dropout_keys):
        return self.logits


def batch_of(labels, weights, tags=None):
    rows = jnp.zeros((len(labels), LENGTH), jnp.int32)
    batch = {"inputs": rows, "segment_ids": rows, "labels": jnp.asarray(labels), "weights": jnp.asarray(weights)}
    return batch if tags is None else batch | {"tags": jnp.asarray(tags)}


def drawn(seed):
    random = np.random.default_rng(seed)
    weights = random.choice([0.0, 0.5, 1.0, 3.0], ROWS).astype(np.float32)
    return random, weights


def smoothed(logits, target, smoothing):
    """Returns the cross-entropy with a target's share of which some is spread over all classes."""
    shares = np.full(len(logits), smoothing / len(logits))
    shares[target] += 1 - smoothing
    return -float(shares @ log_softmax(logits.astype(np.float64)))


def mean(values, weights):
    total = sum(weights)
    return sum(v * w for v, w in zip(values, weights, strict=True)) / total if total else 0.0


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.1, 0.9]), st.sampled_from([0.25, 1.0, 2.0]))
def test_the_loss_of_classes_and_tags_equals_a_loop(seed, smoothing, tag_weight):
    random, weights = drawn(seed)
    classes = random.normal(0, 2, (ROWS, CLASSES)).astype(np.float32)
    tag_logits = random.normal(0, 2, (ROWS, LENGTH, TAGS)).astype(np.float32)
    labels = random.integers(0, CLASSES, ROWS, dtype=np.int32)
    # -1: no tag, -2: one that training does not know.
    tags = random.integers(-2, TAGS, (ROWS, LENGTH), dtype=np.int32)
    places = [(row, place) for row in range(ROWS) for place in range(LENGTH) if tags[row, place] >= 0]
    of_classes = mean([smoothed(classes[row], labels[row], smoothing) for row in range(ROWS)], weights)
    tag_losses = [smoothed(tag_logits[place], tags[place], smoothing) for place in places]
    of_tags = mean(tag_losses, [weights[row] for row, _ in places])

    objective = Classification(smoothing, tag_weight)
    loss, metrics = objective(FixedLogits(classes, tag_logits), batch_of(labels, weights, tags), None)

    assert float(loss.weight) == weights.sum()
    assert float(loss.total) == pytest.approx((of_classes + tag_weight * of_tags) * weights.sum(), rel=1e-4, abs=1e-4)
    assert metrics["loss"] is loss
    right = (classes.argmax(-1) == labels) * weights
    np.testing.assert_allclose(metrics["accuracy"], (right.sum(), weights.sum()), rtol=1e-6)
    tagged = weights[:, None] * (tags >= 0)
    right_tags = (tag_logits.argmax(-1) == tags) * tagged
    np.testing.assert_allclose(metrics["tag_accuracy"], (right_tags.sum(), tagged.sum()), rtol=1e-6)


@pytest.mark.parametrize("parts", ["classes", "tags"])
def test_a_model_of_classes_or_of_tags_alone_has_their_loss_alone(parts):
    random, weights = drawn(1)
    logits = random.normal(size=(ROWS, CLASSES) if parts == "classes" else (ROWS, LENGTH, TAGS)).astype(np.float32)
    tags = random.integers(0, TAGS, (ROWS, LENGTH), dtype=np.int32)
    batch = batch_of(np.zeros(ROWS, np.int32), weights, tags if parts == "tags" else None)
    loss, metrics = Classification()(FixedLogits(**{parts: logits}), batch, None)
    assert set(metrics) == {"loss", "accuracy" if parts == "classes" else "tag_accuracy"}
    if parts == "classes":
        expected = mean([smoothed(logits[row], 0, 0) for row in range(ROWS)], weights)
    else:
        losses = [np.mean([smoothed(logits[row, i], tags[row, i], 0) for i in range(LENGTH)]) for row in range(ROWS)]
        expected = mean(losses, weights)
    assert float(loss.total) / float(loss.weight) == pytest.approx(expected, rel=1e-4)


def test_tokens_without_a_tag_and_rows_without_weight_have_no_gradient():
    random = np.random.default_rng(0)
    weights = np.array([1, 0, 2, 1], np.float32)
    tags = random.integers(-2, TAGS, (ROWS, LENGTH), dtype=np.int32)
    batch = batch_of(np.zeros(ROWS, np.int32), weights, tags)
    arrays = [jnp.asarray(random.normal(size=shape), jnp.float32) for shape in ((ROWS, CLASSES), (ROWS, LENGTH, TAGS))]

    def total(classes, tags):
        return Classification(label_smoothing=0.1)(FixedLogits(classes, tags), batch, None)[0].total

    of_classes, of_tags = jax.grad(total, argnums=(0, 1))(*arrays)
    np.testing.assert_array_equal(np.abs(of_classes).max(axis=-1) > 0, weights > 0)
    np.testing.assert_array_equal(np.abs(of_tags).max(axis=-1) > 0, (weights[:, None] > 0) & (tags >= 0))


def test_a_loss_of_classes_alone_is_exact_however_a_batch_is_split():
    random, weights = drawn(3)
    logits, labels = random.normal(size=(ROWS, CLASSES)).astype(np.float32), np.zeros(ROWS, np.int32)
    whole, _ = Classification()(FixedLogits(logits), batch_of(labels, weights), None)
    halves = [
        Classification()(FixedLogits(logits[part]), batch_of(labels[part], weights[part]), None)[0]
        for part in (slice(0, 2), slice(2, 4))
    ]
    np.testing.assert_allclose(np.sum(halves, axis=0), whole, rtol=1e-5)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.2, 1.0, 7.0]))
def test_the_loss_of_a_yes_or_no_equals_a_loop(seed, positive_weight):
    random, weights = drawn(seed)
    logits = random.normal(0, 4, (ROWS, 1)).astype(np.float32)
    labels = random.choice([0.0, 0.25, 1.0], ROWS).astype(np.float32)
    loss, metrics = YesOrNo(positive_weight)(FixedLogits(logits), batch_of(labels, weights), None)
    total = count = 0.0
    for logit, label, weight in zip(logits[:, 0].astype(np.float64), labels, weights, strict=True):
        own = weight * (label * positive_weight + 1 - label)
        total -= own * (label * np.log(expit(logit)) + (1 - label) * np.log(expit(-logit)))
        count += own
    np.testing.assert_allclose(loss, (total, count), rtol=1e-4, atol=1e-5)
    right = ((logits[:, 0] > 0) == (labels > 0.5)) * weights
    np.testing.assert_allclose(metrics["accuracy"], (right.sum(), weights.sum()), rtol=1e-6)


def test_large_logits_do_not_overflow():
    logits = np.array([[1e4], [-1e4]], np.float32)
    loss, _ = YesOrNo()(FixedLogits(logits), batch_of(np.array([0, 1], np.float32), np.ones(2, np.float32)), None)
    assert float(loss.total) == pytest.approx(2e4)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_the_loss_of_a_number_is_the_squared_error(seed):
    random, weights = drawn(seed)
    outputs = random.normal(size=(ROWS, 1)).astype(np.float32)
    labels = random.normal(size=ROWS).astype(np.float32)
    loss, metrics = Regression()(FixedLogits(outputs), batch_of(labels, weights), None)
    np.testing.assert_allclose(loss, (((outputs[:, 0] - labels) ** 2 * weights).sum(), weights.sum()), rtol=1e-4)
    assert set(metrics) == {"loss"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Classification(label_smoothing=1.0), "label_smoothing = 1.0; allowed: 0 up to, not including, 1"),
        (lambda: Classification(tag_weight=0.0), "Classification.tag_weight = 0.0; allowed: above 0"),
        (lambda: YesOrNo(positive_weight=-1.0), "YesOrNo.positive_weight = -1.0; allowed: above 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()

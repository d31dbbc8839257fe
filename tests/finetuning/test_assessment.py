"""What reports of held-out examples show."""

import numpy as np
import pytest

from m5jax.finetuning.answers import Answers
from m5jax.finetuning.assessment import Assessment
from m5jax.finetuning.examples import Example
from m5jax.finetuning.tasks import JointTask, Task, TwoTowerTask

THRESHOLD = 0.25
TAKEN = "A pair that does not fit, and was taken for one that does"
LEFT = "A pair that fits, and was taken for one that does not"


@pytest.mark.parametrize("task", [TwoTowerTask(), JointTask()])
def test_a_pair_at_the_threshold_is_a_mistake_only_where_it_does_not_fit(task: Task) -> None:
    pairs = [(1.0, THRESHOLD), (0.0, THRESHOLD), (1.0, 0.0), (0.0, 0.0), (1.0, 2.0), (0.0, 2.0)]
    examples = [Example(f"test:{row}", (f"left {row}", "right"), label) for row, (label, _) in enumerate(pairs)]
    answers = Answers(np.array([score for _, score in pairs]))
    report = Assessment(task, examples, answers, THRESHOLD, samples=2).report("title", {})
    shown = [(mistake.heading, mistake.fields["text"]) for mistake in report.examples]
    # The furthest from the threshold first.
    assert shown == [(TAKEN, "left 5 | right"), (LEFT, "left 2 | right"), (TAKEN, "left 1 | right")]

"""What metrics take and refuse."""

import numpy as np
import pytest

from m5jax.errors import UserError
from m5jax.evaluation.metrics.checks import binary, check_lengths, check_positives, classes, numbers, probabilities


def test_rows_become_arrays_of_one_type() -> None:
    assert numbers("scores", [1, 2]).dtype == numbers("scores", np.ones(2, np.float32)).dtype == np.float64
    assert probabilities("probabilities", [0, 1]).tolist() == [0.0, 1.0]
    for labels in ([True, False], [1, 0], [1.0, 0.0], np.array([1, 0], np.int8), np.array([1, False], object)):
        assert binary("labels", labels).dtype == np.bool_
        assert binary("labels", labels).tolist() == [True, False]
    assert classes("labels", np.array(["a", "bc"], object)).dtype == np.dtype("<U2")
    assert classes("labels", [3, 4]).tolist() == [3, 4]
    check_lengths(labels=[1, 2], scores=np.ones(2))
    check_positives(np.array([True]))
    check_positives(np.array([True, False]), negatives=True)


@pytest.mark.parametrize(
    ("function", "values", "message"),
    [
        (numbers, [1, np.nan], "x of row 1 is nan; allowed: finite numbers"),
        (numbers, [np.inf], "x of row 0 is inf"),
        (numbers, ["a"], "x must be one number a row"),
        (numbers, [[1], [1, 2]], "x must be one number a row"),
        (numbers, [], r"x are of shape \[0\]; allowed: \[rows\], at least one"),
        (numbers, 1.0, r"x are of shape \[\]"),
        (probabilities, [0.5, 1.5], "x go from 0.5 to 1.5; allowed: probabilities, 0 to 1"),
        (probabilities, [-0.5, 0.5], "x go from -0.5 to 0.5"),
        (binary, [0, 1, -1], "x hold '-1'; allowed: 0 and 1"),
        (binary, [0.5], "x hold '0.5'"),
        (binary, [1, None], "x hold 'None'"),
        (binary, ["no", "yes"], "x hold 'no'"),
        (binary, [], r"x are of shape \[0\]"),
        (classes, [1.0], "x are of type float64; allowed: strings, or integers"),
        (classes, np.array(["a", None]), "x are of type object"),
        (classes, [], r"x are of shape \[0\]"),
    ],
)
def test_other_values_are_refused_in_one_line(function: object, values: object, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        function("x", values)  # type: ignore[operator]
    assert "\n" not in str(raised.value)


def test_columns_and_labels_that_define_nothing_are_refused() -> None:
    with pytest.raises(UserError, match=r"\(labels 2, predicted intents 1\); allowed: one of each a row"):
        check_lengths(labels=[1, 2], predicted_intents=[1])
    with pytest.raises(UserError, match="0 of 2 labels are positive; needed: at least one positive$"):
        check_positives(np.array([False, False]))
    with pytest.raises(UserError, match="2 of 2 labels are positive; needed: at least one positive and one negative"):
        check_positives(np.array([True, True]), negatives=True)

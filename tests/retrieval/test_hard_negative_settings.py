import pytest

from m5jax.errors import UserError
from m5jax.retrieval.hard_negative_settings import HardNegativeSettings


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"negatives_per_query": 0}, "negatives_per_query = 0; allowed: 1 and above"),
        ({"dense_share": 1.5}, "dense_share = 1.5; allowed: 0 to 1"),
        ({"lexical_share": -0.1}, "lexical_share = -0.1; allowed: 0 to 1"),
        ({"dense_share": 0.7, "lexical_share": 0.4}, r"dense_share = 0.7; allowed: 1 at most with lexical_share \(0.4"),
        ({"candidate_depth": 0}, "candidate_depth = 0; allowed: 1 and above"),
        ({"skip_top": -1}, "skip_top = -1"),
        ({"skip_top": 9, "candidate_depth": 9}, r"skip_top = 9; allowed: 0 to below candidate_depth \(9\)"),
        ({"max_score": 1.1}, "max_score = 1.1; allowed: -1 to 1, or None"),
        ({"relative_margin": 95}, "relative_margin = 95; allowed: 0 to 1, or None"),
        ({"absolute_margin": -0.1}, "absolute_margin = -0.1; allowed: 0 to 2, or None"),
        ({"max_score": float("nan")}, "max_score = nan"),
        ({"seed": -1}, "seed = -1; allowed: 0 and above"),
    ],
)
def test_wrong_settings_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(UserError, match=f"HardNegativeSettings.{message}"):
        HardNegativeSettings(**fields)


def test_shares_of_one_together_are_taken_as_they_are_written() -> None:
    for tenths in range(11):
        HardNegativeSettings(dense_share=tenths / 10, lexical_share=1 - tenths / 10)

import pytest

from m5jax.errors import UserError
from m5jax.tuning.ranges import Choices, Numbers
from m5jax.tuning.settings import Tuning, make_tuning


def test_a_file_is_read_and_flags_win(tmp_path):
    path = tmp_path / "tune.gin"
    path.write_text(
        "# m5jax tune --tune_file=tune.gin\n"
        "Tuning.ranges = {\n    'Cosine.peak': '1e-4..1e-2 log',\n    'BATCH_SIZE': '8|16',\n}\n"
        "Tuning.trials = 20\nTuning.metric = 'evaluation/de/accuracy'\nTuning.direction = 'maximize'\n"
    )
    flags = {"ranges": {"BATCH_SIZE": "8|32"}, "trials": 30, "seed": None}
    tuning = make_tuning(path, flags)
    assert tuning.parsed == (Numbers("Cosine.peak", 1e-4, 1e-2, log=True), Choices("BATCH_SIZE", ("8", "32")))
    assert (tuning.trials, tuning.metric, tuning.seed) == (30, "evaluation/de/accuracy", 0)
    assert tuning.maximizes


def test_a_file_is_not_needed():
    assert make_tuning(None, {"ranges": {"x": "0..1"}, "trials": 3}) == Tuning({"x": "0..1"}, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Tuning.trails = 5", "tune.gin:1: unknown argument of Tuning 'trails'; did you mean trials?"),
        ("Tuning.trials = 5.0", "tune.gin:1: Tuning.trials = 5.0; allowed: an integer"),
        ("Tuning.trials = True", "tune.gin:1: Tuning.trials = True; allowed: an integer"),
        ("Tuning.metric = 5", "allowed: a text"),
        ("Tuning.metric = %METRIC", "tune.gin:1: Tuning.metric = %METRIC; allowed: a text"),
        ("Tuning.ranges = {'x': 1}", "allowed: {'NAME': 'RANGE'}"),
        ("\nCosine.peak = 1", "tune.gin:2: Cosine.peak is not of Tuning"),
        ("TRAIN_STEPS = 5", "tune.gin:1: TRAIN_STEPS is not of Tuning"),
        ("Tuning.trials = ", "tune.gin:1: not valid gin"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_line(tmp_path, text, message):
    path = tmp_path / "tune.gin"
    path.write_text(text + "\n")
    with pytest.raises(UserError) as error:
        make_tuning(path, {"ranges": {"x": "0..1"}, "trials": 5})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ranges": {}}, "nothing to tune; add --range"),
        ({"trials": None}, "add --trials=N"),
        ({"trials": 0}, "Tuning.trials = 0; allowed: 1 and above"),
        ({"seed": -1}, "Tuning.seed = -1"),
        ({"direction": "minimise"}, "did you mean minimize"),
    ],
)
def test_wrong_settings_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        make_tuning(None, {"ranges": {"x": "0..1"}, "trials": 5, **values})

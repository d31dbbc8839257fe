"""Values are a function of the seed, the trial's number and what came before."""

import optuna
import pytest
from optuna.trial import TrialState

from m5jax.tuning.ranges import parse_range
from m5jax.tuning.sampler import SamplerByTrial

RANGES = [parse_range("x", "0..1"), parse_range("y", "1e-4..1 log"), parse_range("kind", "a|b|c")]


def value_of(trial):
    return (trial.params["x"] - 0.3) ** 2 + trial.params["y"] + (trial.params["kind"] == "a")


def make_study(storage=None, seed=0):
    return optuna.create_study(
        storage=storage, study_name="s", sampler=SamplerByTrial(seed), load_if_exists=storage is not None
    )


def add_trials(study, count):
    for _ in range(count):
        trial = study.ask()
        for each in RANGES:
            each.suggest(trial)
        study.tell(trial, value_of(trial))


def parameters(study):
    return [trial.params for trial in study.get_trials()]


@pytest.fixture(scope="module")
def uninterrupted():
    study = make_study()
    add_trials(study, 25)
    return parameters(study)


def test_a_new_process_for_each_trial_makes_no_difference(uninterrupted):
    storage = optuna.storages.InMemoryStorage()
    for _ in range(25):
        add_trials(make_study(storage), 1)
    assert parameters(make_study(storage)) == uninterrupted


@pytest.mark.parametrize("begun", [4, 20])  # at random, and by the estimator
def test_a_trial_with_half_of_its_values_gets_the_other_half_as_ever(uninterrupted, begun):
    storage = optuna.storages.InMemoryStorage()
    add_trials(make_study(storage), begun)
    RANGES[1].suggest(make_study(storage).ask())
    study = make_study(storage)
    (half,) = study.get_trials(states=(TrialState.RUNNING,))
    assert list(half.params) == ["y"]
    trial = optuna.Trial(study, half._trial_id)
    assert {each.name: each.suggest(trial) for each in RANGES} == uninterrupted[begun]


def test_each_trial_and_each_seed_has_values_of_its_own(uninterrupted):
    other = make_study(seed=1)
    add_trials(other, 25)
    drawn = [each["x"] for each in (*uninterrupted, *parameters(other))]
    assert len(set(drawn)) == 50


def test_parameters_of_one_range_are_not_drawn_alike():
    trial = make_study().ask()
    assert len({parse_range(name, "0..1").suggest(trial) for name in "abcd"}) == 4


def test_values_come_near_the_best():
    """Of 40 trials, as near as Optuna's own sampler comes: better than drawing at random."""
    found = {}
    for name, sampler in (("ours", SamplerByTrial), ("random", lambda seed: optuna.samplers.RandomSampler(seed=seed))):
        values = []
        for seed in range(5):
            study = optuna.create_study(sampler=sampler(seed))
            add_trials(study, 40)
            values.append(study.best_value)
        found[name] = sum(values)
    assert found["ours"] < 0.5 * found["random"]

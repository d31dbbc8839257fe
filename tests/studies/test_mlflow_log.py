"""Runs in MLflow: there once, whole, and found again."""

from pathlib import Path

import pytest

from m5jax.cli.main import main
from m5jax.errors import UserError
from m5jax.studies import Study
from tests.studies import fake_run


@pytest.fixture
def runs(tmp_path: Path) -> str:
    for peak in (1e-3, 2e-3):
        for seed in range(2):
            fake_run.write_run(tmp_path / f"runs/{peak}_{seed}", {"Cosine.peak": peak, "TrainerConfig.seed": seed})
    return f"{tmp_path}/runs/*"


def test_mlflow_shows_what_the_runs_say_and_each_run_once(runs: str, tmp_path: Path, capsys) -> None:
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    words = ["study", "mlflow", runs, "--experiment=peaks", f"--uri={uri}"]
    for logged in (4, 0):
        assert main(words) == 0
        assert f"{logged} runs logged to the experiment peaks" in capsys.readouterr().out
    client = MlflowClient(uri)
    found = client.search_runs([client.get_experiment_by_name("peaks").experiment_id])
    assert sorted((run.data.params["Cosine.peak"], run.data.params["seed"]) for run in found) == [
        ("0.001", "0"),
        ("0.001", "1"),
        ("0.002", "0"),
        ("0.002", "1"),
    ]
    for run in found:
        history = client.get_metric_history(run.info.run_id, "evaluation/en/loss")
        values = {
            "Cosine.peak": float(run.data.params["Cosine.peak"]),
            "TrainerConfig.seed": int(run.data.params["seed"]),
        }
        assert [(one.step, one.value) for one in history] == [
            (step, fake_run.loss(values, step)) for step in fake_run.STEPS
        ]


def test_what_mlflow_refuses_is_said(runs: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="MLflow: "):
        Study.from_runs(runs).to_mlflow("peaks", "nonsense://a")

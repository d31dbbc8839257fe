"""A second stage of pre-training: where it begins, what it replays, and that it needs the first one no more."""

import json
import logging
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from m5jax.cli.main import main
from m5jax.configuration.initial_parameters import InitialRun, _check_shapes, find_initial_run
from m5jax.configuration.live_data import set_run_vocabulary
from m5jax.configuration.load import import_task_modules, load_run, load_run_directory
from m5jax.configuration.run import Run
from m5jax.data.batch_iterator import BatchIterator
from m5jax.data.vocabulary import Vocabulary
from m5jax.data.vocabulary_extension import split_pieces
from m5jax.errors import UserError
from m5jax.models import FunctionalModel, Parameters
from m5jax.training.checkpoints import Checkpoints, shapes_by_name
from m5jax.training.run_log import read_metrics
from partitioning import MeshConfig, make_mesh, tree_shapes

FIRST = "gin_configs/experiments/quickstart.gin"
SECOND = "gin_configs/experiments/second_stage.gin"
SMALL = {"EncoderConfig.width": 32, "EncoderConfig.layers": 2, "EncoderConfig.mlp_hidden": 48, "LENGTH": 64}
SMALL |= {"EncoderConfig.logit_bias": True, "BATCH_SIZE": 8, "DataConfig.evaluation_examples": 20}
SMALL |= {"Cosine.warmup_steps": 2, "TrainerConfig.evaluate_every": 0, "MIXTURE": "embedded_catalog_en_mlm"}
REPLAY = {"MIXTURE": "embedded_catalog_en_value_mlm", "DataConfig__replay_mixture": "embedded_catalog_en_mlm"}
REPLAY |= {"DataConfig__replay": 0.3}


def bindings(**settings: Any) -> list[str]:
    """Returns what is bound on the command line; dots in names are two underscores."""
    return [f"{name.replace('__', '.')}={value!r}" for name, value in (SMALL | settings).items()]


def train(gin_file: str, **settings: Any) -> int:
    return main(["train", f"--gin_file={gin_file}", *(f"--gin.{binding}" for binding in bindings(**settings))])


def parameters(run_dir: Path) -> Parameters:
    """Returns the parameters of the newest checkpoint."""
    model = FunctionalModel.from_config(load_run_directory(run_dir).model)
    with Checkpoints(run_dir / "checkpoints") as checkpoints:
        return jax.tree.map(np.asarray, checkpoints.restore_parameters(model.abstract_parameters)[1])


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "first"
    assert train(FIRST, RUN_DIR=str(run_dir), TRAIN_STEPS=4) == 0
    return run_dir


def second(run_dir: Path, initial: Path, **settings: Any) -> int:
    settings = {"TRAIN_STEPS": 6, "TrainerConfig__checkpoint_every": 3, "TrainerConfig__log_every": 3} | settings
    settings = REPLAY | settings
    return train(SECOND, RUN_DIR=str(run_dir), INITIAL_RUN=str(initial), **settings)


def test_a_second_stage_begins_at_the_loss_of_the_first_and_needs_it_no_more(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole, killed, copy = tmp_path / "whole", tmp_path / "killed", tmp_path / "copy"
    shutil.copytree(first, copy)
    with caplog.at_level(logging.INFO):
        assert second(whole, copy) == 0
    assert f"beginning with the parameters of {copy}, step 4" in caplog.text
    assert "not as in" not in caplog.text
    summary, of_first = (json.loads((run / "summary.json").read_text(encoding="utf-8")) for run in (whole, copy))
    assert summary["began_with"] == f"{copy}, step 4"
    assert of_first["began_with"] is None
    # Held-out data of both mixtures are evaluated, at first with what the first run ended with.
    assert summary["languages"].keys() == {"embedded_catalog_en_mlm", "embedded_catalog_en_value_mlm"}
    start = read_metrics(whole)[0]
    assert start["step"] == 0
    loss = start["evaluation/embedded_catalog_en_mlm/loss"]
    assert loss == pytest.approx(of_first["languages"]["en"]["loss"], rel=1e-6)

    class Killed(BaseException):
        pass

    following, taken = BatchIterator.__next__, 0

    def next_until_killed(iterator: BatchIterator) -> Any:
        nonlocal taken
        taken += 1
        if taken == 5:  # a step after the checkpoint, which has to be done again
            raise Killed
        return following(iterator)

    monkeypatch.setattr(BatchIterator, "__next__", next_until_killed)
    with pytest.raises(Killed):
        second(killed, copy)
    monkeypatch.setattr(BatchIterator, "__next__", following)
    shutil.rmtree(copy)
    assert second(killed, copy) == 0
    jax.tree.map(np.testing.assert_array_equal, parameters(killed), parameters(whole))
    assert json.loads((killed / "summary.json").read_text(encoding="utf-8"))["began_with"] == f"{copy}, step 4"
    losses = [[line["train/loss"] for line in read_metrics(run) if "train/loss" in line] for run in (killed, whole)]
    assert losses[0] == losses[1]


@pytest.fixture(scope="module")
def extended(first: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vocabulary with a hundred pieces more than the first run's."""
    directory = tmp_path_factory.mktemp("vocabulary")
    generator = random.Random(0)
    syllables = ["".join(generator.choices("bcdfgaeiouéàçλ", k=3)) for _ in range(60)]
    lines = [" ".join("".join(generator.choices(syllables, k=2)) for _ in range(10)) for _ in range(300)]
    records = "".join(json.dumps({"text": line, "lang": "fr"}) + "\n" for line in lines)
    (directory / "texts.jsonl").write_text(records, encoding="utf-8")
    old = first / "vocabulary" / "sentencepiece.model"
    arguments = [f"--input={directory / 'texts.jsonl'}", f"--size={Vocabulary.load(old).size + 100}"]
    output = directory / "extended.model"
    assert main(["vocabulary", "extend", f"--vocabulary={old}", *arguments, f"--output={output}"]) == 0
    return output


def start(first: Path, run_dir: Path, **settings: Any) -> tuple[Run, Vocabulary, InitialRun]:
    """Returns a run that begins with the first one, its vocabulary, and its start."""
    settings = {"RUN_DIR": str(run_dir), "INITIAL_RUN": str(first)} | settings
    run = load_run([SECOND], bindings(**settings))
    import_task_modules(run.task_modules)
    vocabulary = set_run_vocabulary(run)
    initial = find_initial_run(run, FunctionalModel.from_config(run.model), vocabulary)
    assert initial is not None
    return run, vocabulary, initial


@pytest.mark.parametrize("mesh", [MeshConfig(), MeshConfig(data=1, fsdp=2, tensor=4)])
def test_rows_of_new_pieces_are_the_means_of_old_ones_and_old_rows_stay_to_the_bit(
    first: Path, extended: Path, tmp_path: Path, mesh: MeshConfig
) -> None:
    settings = {"VOCABULARY": str(extended), "EncoderConfig__vocab_size": 4400, "TrainerConfig__seed": 3}
    run, vocabulary, initial = start(first, tmp_path, MIXTURE="embedded_catalog_en_duplicates", **settings)
    old, stored = Vocabulary.load(first / "vocabulary" / "sentencepiece.model"), parameters(first)
    stored_rows, labels = len(stored["embedding"]), vocabulary.label_ids
    assert (len(labels), vocabulary.text_size, stored_rows) == (2, old.size + 100, 4096)
    model = FunctionalModel.from_config(run.model)
    abstract = tree_shapes(make_mesh(mesh), model.abstract_parameters, model.logical_axes)
    given = initial(abstract)
    assert jax.tree.map(lambda leaf: leaf.sharding, given) == jax.tree.map(lambda leaf: leaf.sharding, abstract)
    drawn = jax.jit(model.init)(jax.random.key(3))
    new = range(old.size, vocabulary.text_size)
    splits = split_pieces(old, vocabulary.pieces(new))
    for path in (("embedding",), ("masked_lm_head", "bias")):
        before, after, fresh = (np.asarray(take(tree, path)) for tree in (stored, given, drawn))
        assert after[: old.size].tobytes() == before[: old.size].tobytes()
        for index, split in zip(new, splits, strict=True):
            mean = np.mean([before[piece] for piece in split], axis=0)
            np.testing.assert_allclose(after[index], mean, rtol=1e-5, atol=1e-7)
        rows = [*labels.values(), *range(stored_rows, len(after))]
        np.testing.assert_allclose(after[rows], fresh[rows], rtol=1e-6, atol=1e-7)  # of another program
    del stored["embedding"], given["embedding"], stored["masked_lm_head"]["bias"], given["masked_lm_head"]["bias"]
    jax.tree.map(np.testing.assert_array_equal, given, stored)


def take(tree: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        tree = tree[name]
    return tree


def test_a_second_stage_trains_with_an_extended_vocabulary_and_other_settings(
    first: Path, extended: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"VOCABULARY": str(extended), "EncoderConfig__vocab_size": 4400, "EncoderConfig__rotary_theta": 2e4}
    with caplog.at_level(logging.INFO):
        assert second(tmp_path / "run", first, TRAIN_STEPS=2, EncoderConfig__max_length=128, **settings) == 0
    assert f"not as in {first}: EncoderConfig.rotary_theta: 10000.0 there, 20000.0 now" in caplog.text
    assert (tmp_path / "run" / "vocabulary" / "sentencepiece.model").read_bytes() == extended.read_bytes()
    assert len(parameters(tmp_path / "run")["embedding"]) == 4400
    assert main(["evaluate", f"--run={tmp_path / 'run'}"]) == 0


def test_rows_written_down_are_of_the_replayed_mixture_too(
    first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = bindings(INITIAL_RUN=str(first), **REPLAY)
    command = ["data", "materialize", f"--gin_file={SECOND}", *(f"--gin.{binding}" for binding in settings)]
    assert main([*command, "--rows=32", f"--output={tmp_path / 'rows'}"]) == 0
    described = json.loads((tmp_path / "rows" / "rows.json").read_text(encoding="utf-8"))["definition"]
    assert described["replay"] == {"share": 0.3, "tasks": ["embedded_catalog_en_mlm"]}
    rows = {"DataConfig__materialized": str(tmp_path / "rows"), "TRAIN_STEPS": 2}
    assert second(tmp_path / "run", first, **rows) == 0
    assert "embedded_catalog_en_mlm " in capsys.readouterr().out
    assert second(tmp_path / "other", first, **rows, DataConfig__replay=0.4) == 2
    assert "made with another definition: replay was {'share': 0.3" in capsys.readouterr().err


def no_change(first: Path, directory: Path) -> dict[str, Any]:
    return {}


def other_vocabulary(first: Path, directory: Path) -> dict[str, Any]:
    lines = "".join(json.dumps({"text": f"some other {index} words", "lang": "en"}) + "\n" for index in range(200))
    (directory / "texts.jsonl").write_text(lines, encoding="utf-8")
    output = directory / "other.model"
    arguments = [f"--input={directory / 'texts.jsonl'}", "--size=425", f"--output={output}"]
    assert main(["vocabulary", "train", *arguments]) == 0
    return {"VOCABULARY": str(output)}


@pytest.mark.parametrize(
    ("settings", "more", "message"),
    [
        ({"INITIAL_RUN": "runs/absent"}, no_change, "INITIAL_RUN: runs/absent is no run directory: it has no"),
        ({"Run__initial_step": 7}, no_change, "checkpoints has no checkpoint of step 7; there are: [4]"),
        ({"EncoderConfig__mlp_hidden": 64}, no_change, "layers/mlp/down is (2, 48, 32) there, (2, 64, 32) in the"),
        ({"EncoderConfig__logit_bias": False}, no_change, "masked_lm_head/bias is (4096,) there, missing in the"),
        ({"EncoderConfig__vocab_size": 4095}, no_change, "EncoderConfig.vocab_size = 4095"),
        ({}, other_vocabulary, "is neither that of {first} nor an extension of it: id 4"),
        ({"RUN_DIR": "{first}"}, no_change, "{first} holds another run ("),
        ({"INITIAL_RUN": "", "Run__initial_step": 4}, no_change, "Run.initial_step = 4 without INITIAL_RUN"),
        ({"DataConfig__replay": 1.0}, no_change, "replay = 1.0, replay_mixture = 'embedded_catalog_mlm'; allowed"),
        ({"DataConfig__replay": 0.0}, no_change, "replay = 0.0, replay_mixture = 'embedded_catalog_mlm'; allowed"),
        ({"DataConfig__replay_mixture": "embedded_catalog_mln"}, no_change, "did you mean embedded_catalog_mlm"),
    ],
)  # fmt: skip
def test_what_cannot_begin_stops_at_once_with_one_line(
    first: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    settings: dict[str, Any],
    more: Callable[[Path, Path], dict[str, Any]],
    message: str,
) -> None:
    run_dir = tmp_path / "run"
    given = {"RUN_DIR": str(run_dir), "INITIAL_RUN": str(first)} | settings | more(first, tmp_path)
    given = {name: value.format(first=first) if isinstance(value, str) else value for name, value in given.items()}
    before = (first / "config.gin").read_bytes()
    capsys.readouterr()
    assert train(SECOND, TRAIN_STEPS=2, **given) == 2
    error = capsys.readouterr().err
    assert error.startswith("m5jax: error: ")
    assert message.format(first=first) in error
    assert error.count("\n") == 1
    assert not run_dir.exists()
    assert (first / "config.gin").read_bytes() == before


def test_a_smaller_model_vocabulary_than_the_first_is_refused(first: Path) -> None:
    small, large = (
        FunctionalModel.from_config(load_run([SECOND], bindings(RUN_DIR="-", EncoderConfig__vocab_size=size)).model)
        for size in (4096, 4100)
    )
    assert _check_shapes(first, shapes_by_name(small.abstract_parameters), large) == 4096
    with pytest.raises(UserError, match=r"EncoderConfig\.vocab_size = 4096; INITIAL_RUN: the model of .* has 4100"):
        _check_shapes(first, shapes_by_name(large.abstract_parameters), small)

"""The command line over the live pipeline: a run, a crash, a resume, an evaluation; and what is refused on the way."""

import json

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest
import seqio

import tasks  # noqa: F401  (registers them)
from m5jax.cli.main import main
from m5jax.configuration.load import load_run_directory
from m5jax.configuration.load_embedder import load_embedder
from m5jax.data.batch_iterator import BatchIterator
from m5jax.data.default_vocabulary import default_vocabulary, register_default_vocabulary
from m5jax.data.mixtures import find_tasks
from m5jax.errors import UserError
from m5jax.evaluation.predictions import read_predictions
from m5jax.evaluation.report_data import read_report_data
from m5jax.models import FunctionalModel
from m5jax.training.checkpoints import Checkpoints
from m5jax.training.run_log import read_metrics

QUICKSTART = "--gin_file=gin_configs/experiments/quickstart.gin"
SMALL = ["--gin.EncoderConfig.width=32", "--gin.EncoderConfig.layers=2", "--gin.EncoderConfig.mlp_hidden=48"]
SMALL += ["--gin.EncoderConfig.dropout_rate=0.1", "--gin.LENGTH=64", "--gin.BATCH_SIZE=8"]
SMALL += ["--gin.DataConfig.evaluation_examples=30", "--gin.TrainerConfig.checkpoint_every=20"]


def train(run_dir, steps, *more):
    return main(["train", QUICKSTART, f"--gin.RUN_DIR='{run_dir}'", f"--gin.TRAIN_STEPS={steps}", *SMALL, *more])


def parameters(run_dir, step):
    model = FunctionalModel.from_config(load_run_directory(run_dir).model)
    with Checkpoints(run_dir / "checkpoints") as checkpoints:
        restored = checkpoints.restore_parameters(model.abstract_parameters, step)[1]
    return jax.tree.map(np.asarray, restored)


def flops(run_dir):
    return json.loads((run_dir / "summary.json").read_text(encoding="utf-8"))["flops"]


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    assert train(run_dir, 40) == 0
    return run_dir


def test_a_killed_and_resumed_run_is_bit_identical(whole_run, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    run_dir = tmp_path / "killed"
    taken = 0
    following = BatchIterator.__next__

    def next_until_killed(iterator):
        nonlocal taken
        taken += 1
        if taken == 31:  # eleven steps after the checkpoint of step 20, which have to be done again
            raise Killed
        return following(iterator)

    monkeypatch.setattr(BatchIterator, "__next__", next_until_killed)
    with pytest.raises(Killed):
        train(run_dir, 40)
    monkeypatch.setattr(BatchIterator, "__next__", following)
    assert train(run_dir, 40) == 0

    jax.tree.map(np.testing.assert_array_equal, parameters(run_dir, 40), parameters(whole_run, 40))
    resumed, whole = (
        [line["train/loss"] for line in read_metrics(run) if "train/loss" in line] for run in (run_dir, whole_run)
    )
    assert resumed == whole
    one = load_run_directory(run_dir).model.flops_per_token(64, 13 / 64)  # a row has room for ceil(1.1 * 15% of 64) + 2
    assert flops(run_dir) == flops(whole_run) == 40 * 8 * 64 * one


@pytest.fixture(scope="module")
def evaluated(whole_run, tmp_path_factory):
    """The figures of the run, of which there is a report now."""
    output = tmp_path_factory.mktemp("figures") / "figures.json"
    assert main(["evaluate", f"--run={whole_run}", f"--output={output}", "--samples=50"]) == 0
    return json.loads(output.read_text(encoding="utf-8"))


def test_evaluate_repeats_the_figures_of_the_run(whole_run, evaluated):
    summary = json.loads((whole_run / "summary.json").read_text(encoding="utf-8"))
    assert evaluated["step"] == 40
    assert set(evaluated["languages"]) == {"ar", "de", "en"}
    for language, result in evaluated["languages"].items():
        for name in ("loss", "accuracy", "unigram_accuracy"):
            assert result[name] == pytest.approx(summary["languages"][language][name], rel=1e-5)


def test_evaluate_reports_tokens_words_and_values(whole_run, evaluated, capsys):
    report = read_report_data(whole_run / "evaluations" / "held_out")
    groups = {group.name: group.metrics for group in report.groups}
    for language, result in evaluated["languages"].items():
        metrics = groups[language]
        assert metrics["token_accuracy"].value == pytest.approx(result["accuracy"])
        assert metrics["nats_per_token"].value == pytest.approx(result["loss"], rel=1e-5)
        assert {"word_accuracy", "nats_per_character", "value_accuracy"} <= metrics.keys()
        assert 0 < metrics["frequent_value_accuracy"].value < 0.5 < metrics["value_in_text"].value <= 1
    assert {"en: Color", "de: Farbe", "en: (others)"} <= groups.keys()
    assert groups["en: Color"]["value_in_text"].count > 5
    assert report.notes == ()
    assert main(["compare", str(whole_run), str(whole_run), "--samples=20"]) == 0
    assert "en: Color" in capsys.readouterr().out
    assert main(["evaluate", f"--run={whole_run}"]) == 2
    assert "evaluations/held_out exists; remove it or choose another one" in capsys.readouterr().err


def test_values_of_products_in_a_file_are_asked_for(whole_run, tmp_path, capsys):
    rows = [{"id": str(number), "name": "steel kettle", "attributes": {"Color": color, "Size": "5 l"}}
            for number, color in enumerate(("red", "red", "blue"))]  # fmt: skip
    data = tmp_path / "kettles.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    command = ["evaluate", f"--run={whole_run}", f"--data={data}", "--column=title=name", "--default=language=en"]
    assert main([*command, "--samples=20"]) == 0
    report = read_report_data(whole_run / "evaluations" / "kettles")
    groups = {group.name: group.metrics for group in report.groups}
    # The products are two, one of them twice, with two values each.
    assert report.facts["hidden in en"] == "4 values"
    assert groups["en: Color"]["value_accuracy"].count == 2
    assert groups["en: Size"]["frequent_value_accuracy"].value == 1.0
    assert 0.0 <= groups["en"]["value_accuracy"].value <= 1.0
    for flags, message in (
        (command, "evaluations/kettles exists"),
        ([*command, "--name=b", f"--output={tmp_path / 'b.json'}"], "--output is of a run's own held-out data"),
        ([*command, "--kind=search"], "is of no fine-tuning, and is evaluated without --kind"),
    ):
        capsys.readouterr()
        assert main(flags) == 2
        assert message in capsys.readouterr().err
    data.write_text(json.dumps({"id": "1", "title": "a mug", "language": "en"}) + "\n", encoding="utf-8")
    assert main(["evaluate", f"--run={whole_run}", f"--data={data}", "--name=c"]) == 2
    assert "has attributes whose values could be hidden" in capsys.readouterr().err


def test_the_run_directory_explains_itself(whole_run):
    names = {path.name for path in whole_run.iterdir()}
    written = "checkpoints config.gin vocabulary metrics.jsonl tensorboard summary.json report.html"
    assert set(written.split()) <= names
    assert "EncoderConfig.width = 32" in (whole_run / "config.gin").read_text(encoding="utf-8")


def test_a_finished_run_is_prolonged_but_not_changed(whole_run, capsys):
    before = (whole_run / "config.gin").read_text(encoding="utf-8")
    assert train(whole_run, 40, "--gin.EncoderConfig.width=64") == 2
    error = capsys.readouterr().err
    assert "EncoderConfig.width: 32 there, 64 now" in error
    assert error.count("\n") == 1
    assert (whole_run / "config.gin").read_text(encoding="utf-8") == before


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--gin.TRAIN_STPES=5", "did you mean TRAIN_STEPS?"),
        ("--gin.MIXTURE='embedded_catalog_mln'", "did you mean embedded_catalog_mlm"),
        ("--gin.MIXTURE='products_mlm'", "has no vocabulary of its own"),
        ("--gin.TASK_MODULES=('my_tasks_that_are_not_there',)", "no Python module 'my_tasks_that_are_not_there'"),
        ("--gin.TASK_MODULES=('',)", "'' is no module's name"),
        ("--gin.TASK_MODULES=('.tasks',)", "'.tasks' is no module's name"),
        ("--gin.MaskingPolicy.rate=1.5", "has no effect: nothing refers to @MaskingPolicy()"),
        ("--gin.VOCABULARY='absent.model'", "cannot read the vocabulary absent.model"),
        ("--gin.EncoderConfig.vocab_size=1000", "EncoderConfig.vocab_size = 1000 rows"),
        ("--gin.MeshConfig.data=3", "does not multiply to the 8 devices"),
        ("--gin.BATCH_SIZE=12", "batch of 12 examples is not divisible by 8"),
        ("--gin.EncoderConfig.max_length=32", "DataConfig.length = 64 is over the model's maximum"),
        ("--gin.EncoderConfig.heads=5", "does not split into 5 heads"),
        ("--gin.RUN_DIR=''", "no run directory"),
        ("--gin.RUN_DIR='/dev/null/run'", "cannot write the run directory"),
    ],
)
def test_what_cannot_run_stops_at_once_with_one_line(tmp_path, capsys, flag, message):
    assert train(tmp_path / "run", 4, flag) == 2
    error = capsys.readouterr().err
    assert error.startswith("m5jax: error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_run_may_mask_otherwise_than_its_tasks(tmp_path, capsys):
    masking = ["--gin.DataConfig.masking=@MaskingPolicy()", "--gin.MaskingPolicy.rate=0.3"]
    assert train(tmp_path / "run", 2, *masking) == 0
    assert "MaskingPolicy.rate = 0.3" in (tmp_path / "run" / "config.gin").read_text(encoding="utf-8")
    assert main(["evaluate", f"--run={tmp_path / 'run'}"]) == 0
    assert train(tmp_path / "run", 4, masking[0], "--gin.MaskingPolicy.rate=0.2") == 2
    assert "MaskingPolicy.rate: 0.3 there, 0.2 now" in capsys.readouterr().err


def test_tasks_that_write_targets_train_beside_masked_ones(tmp_path):
    """The UL2 experiment, as small as the others here, and the metrics of each of its tasks."""
    flags = ["--gin_file=gin_configs/experiments/denoising.gin", "--gin.DataConfig.targets_length=24"]
    assert train(tmp_path / "run", 4, *flags, "--gin.TrainerConfig.log_every=2") == 0
    lines = read_metrics(tmp_path / "run")
    assert {"train/en/loss", "train/de/loss", "train/ar/accuracy"} <= set().union(*lines)
    assert all(np.isfinite(value) for line in lines for value in line.values())
    assert main(["evaluate", f"--run={tmp_path / 'run'}"]) == 0
    assert not (tmp_path / "run" / "evaluations").exists()  # nothing is masked


ENCODER_DECODER = ["--gin_file=gin_configs/experiments/span_corruption.gin", "--gin.LENGTH=64", "--gin.BATCH_SIZE=8"]
ENCODER_DECODER += [f"--gin.EncoderDecoderConfig.{name}" for name in ("width=32", "encoder_layers=2", "head_dim=8")]
ENCODER_DECODER += ["--gin.DataConfig.evaluation_examples=30", "--gin.TARGETS_LENGTH=48"]


DECODER = ["--gin_file=gin_configs/experiments/causal_lm.gin", "--gin.LENGTH=64", "--gin.BATCH_SIZE=8"]
DECODER += [f"--gin.DecoderConfig.{name}" for name in ("width=32", "layers=2", "head_dim=8")]
DECODER += ["--gin.DataConfig.evaluation_examples=30", "--gin.TARGETS_LENGTH=60"]


def train_writer(model, run_dir, steps, *more):
    flags = [f"--gin.RUN_DIR='{run_dir}'", f"--gin.TRAIN_STEPS={steps}", "--gin.TrainerConfig.log_every=2"]
    return main(["train", *model, *flags, *more])


def trained_live_and_on_written_rows(model, tmp_path, *more):
    """Returns a run that was trained on live rows, to the same parameters as on written ones."""
    live, read, rows = (tmp_path / name for name in ("live", "read", "rows"))
    assert train_writer(model, live, 6, *more) == 0
    settings = [f"--gin.RUN_DIR='{read}'", "--gin.TRAIN_STEPS=6", *more]
    assert main(["data", "materialize", *model, *settings, "--steps=6", f"--output={rows}"]) == 0
    assert train_writer(model, read, 6, *more, f"--gin.DataConfig.materialized='{rows}'") == 0
    jax.tree.map(np.testing.assert_array_equal, parameters(live, 6), parameters(read, 6))
    assert {"train/en/loss", "evaluation/ar/accuracy"} <= set().union(*read_metrics(live))
    assert main(["evaluate", f"--run={live}"]) == 0
    return live


def test_a_decoder_trains_on_live_and_on_written_rows_and_goes_on_with_texts(tmp_path, capsys):
    live = trained_live_and_on_written_rows(DECODER, tmp_path)
    (tmp_path / "texts.txt").write_text("red lamp\nkettle\n", encoding="utf-8")
    files = [f"--run={live}", f"--input={tmp_path / 'texts.txt'}", "--batch_size=8", "--continue"]
    for strategy in ([], ["--beams=2"], ["--temperature=1"]):
        capsys.readouterr()
        assert main(["generate", *files, "--length=8", *strategy]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 2
    for flag, message in (
        ("--length=63", "leave no room for a text in the model's length, DecoderConfig.max_length = 64"),
        ("--length_penalty=2", "add --beams"),
    ):
        assert main(["generate", *files, flag]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["MIXTURE='embedded_catalog_mlm'"], "task embedded_catalog_ar_mlm predicts at its inputs, a decoder writes"),
        (["Run.objective=@SequenceToSequence()"], "SequenceToSequence does not train the model of DecoderConfig"),
        (["DecoderConfig.max_length=32"], "over the model's maximum, DecoderConfig.max_length = 32"),
    ],
)
def test_what_a_decoder_cannot_do_is_said_in_one_line(tmp_path, capsys, flags, message):
    assert train_writer(DECODER, tmp_path / "run", 1, *(f"--gin.{flag}" for flag in flags)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_encoder_decoder_trains_on_live_and_on_written_rows(tmp_path, capsys):
    weights = "--gin.SequenceToSequence.task_weights={'embedded_catalog_en_span_corruption': 2.0}"
    live = trained_live_and_on_written_rows(ENCODER_DECODER, tmp_path, weights)
    tokens = 6 * 8 * (64 + 48)  # of steps of rows with inputs and targets
    assert flops(live) == tokens * load_run_directory(live).model.flops_per_token(64, 48 / 64)
    capsys.readouterr()
    embed = [f"--run={live}", "--input=absent.jsonl", f"--output={tmp_path / 'embeddings.parquet'}"]
    assert main(["embed", *embed]) == 2
    assert "is of EncoderDecoderConfig; allowed: runs of EncoderConfig" in capsys.readouterr().err


def test_an_encoder_decoder_writes_labels(tmp_path, capsys):
    mixture = "--gin.MIXTURE='embedded_catalog_product_type_text'"
    assert train_writer(ENCODER_DECODER, tmp_path / "run", 2, mixture, "--gin.LENGTH=128") == 0
    values = {name: value for line in read_metrics(tmp_path / "run") for name, value in line.items()}
    assert 0 <= values["evaluation/en/exact_match"] <= 1
    capsys.readouterr()
    (tmp_path / "texts.txt").write_text("category<title> red lamp\ncategory<title> kettle\n", encoding="utf-8")
    (tmp_path / "labels.txt").write_text("Home > Lamp\nKitchen > Kettle\n", encoding="utf-8")
    files = [f"--input={tmp_path / 'texts.txt'}", f"--labels={tmp_path / 'labels.txt'}", "--batch_size=8"]
    assert main(["generate", f"--run={tmp_path / 'run'}", *files]) == 0
    answers = capsys.readouterr().out.splitlines()
    assert len(answers) == 2
    assert set(answers) <= {"Home > Lamp", "Kitchen > Kettle"}
    for flags, message in ((["--beams=2", "--top_k=3"], "--beams does not sample"), (["--continue"], "does not go on")):
        assert main(["generate", f"--run={tmp_path / 'run'}", *files, *flags]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["MIXTURE='embedded_catalog_mlm'"], "task embedded_catalog_ar_mlm predicts at its inputs"),
        (["TARGETS_LENGTH=2"], "the targets' length is 2, allowed: 4 or more"),
        (["Run.objective=@LanguageModel()"], "LanguageModel does not train the model of EncoderDecoderConfig"),
        (["EncoderDecoderConfig.vocab_size=99"], "EncoderDecoderConfig.vocab_size = 99 rows"),
        (["SequenceToSequence.task_weights={'embedded_catalog_mlm': 1.0}"], "in SequenceToSequence.task_weights"),
    ],
)
def test_what_an_encoder_decoder_cannot_do_is_said_in_one_line(tmp_path, capsys, flags, message):
    assert train_writer(ENCODER_DECODER, tmp_path / "run", 1, *(f"--gin.{flag}" for flag in flags)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.fixture
def few_tasks():
    """Name of a mixture of the multi-task experiment's tasks of one language, and some of others."""
    names = [task.name for task in find_tasks("embedded_catalog_multitask")]
    others = ("ar_next_query", "_duplicates")
    few = [name for name in names if name.startswith("embedded_catalog_en_") or name.endswith(others)]
    seqio.MixtureRegistry.add("embedded_catalog_few", few, default_rate=1.0)
    register_default_vocabulary("embedded_catalog_few", lambda: default_vocabulary("embedded_catalog_multitask"))
    yield "embedded_catalog_few"
    seqio.MixtureRegistry.remove("embedded_catalog_few")


def test_labelled_tasks_train_beside_masked_ones(few_tasks, tmp_path, capsys):
    """The multi-task experiment, of few tasks: weights, metrics of each task's own, and labels that a run keeps."""
    flags = [
        "--gin_file=gin_configs/experiments/multitask.gin",
        f"--gin.MIXTURE='{few_tasks}'",
        "--gin.LENGTH=128",
    ]
    flags += ["--gin.DataConfig.evaluation_examples=12"]
    weights = "--gin.LanguageModel.task_weights={'embedded_catalog_duplicates': 2.0, 'embedded_catalog_en_mlm': 0.5}"
    run_dir = tmp_path / "run"
    assert train(run_dir, 4, *flags, weights, "--gin.TrainerConfig.log_every=4") == 0
    values = {name: value for line in read_metrics(run_dir) for name, value in line.items()}
    trained = [name for name in values if name.startswith("train/embedded_catalog_")]
    assert any("intent_and_slots" in name for name in trained)
    assert np.isfinite([values[name] for name in trained]).all()
    for metric in ("clicks/auc", "duplicates/f1", "relevance/macro_f1", "attribute_spans/span_f1"):
        assert 0 <= values[f"evaluation/embedded_catalog_en_{metric}"] <= 1
    labels = json.loads((run_dir / "vocabulary" / "labels.json").read_text(encoding="utf-8"))
    assert labels == sorted(labels)
    assert "embedded_catalog_relevance:exact" in labels
    capsys.readouterr()
    assert main(["evaluate", f"--run={run_dir}"]) == 0
    assert "embedded_catalog_ar_next_query" in capsys.readouterr().out
    report = read_report_data(run_dir / "evaluations" / "held_out")
    assert report.groups[0].name == "embedded_catalog_en_mlm"
    (note,) = report.notes
    assert note.startswith("not here, since they are no masked LM: ")
    assert "embedded_catalog_ar_next_query" in note
    (run_dir / "vocabulary" / "labels.json").write_text(json.dumps(labels[:-1]), encoding="utf-8")
    assert train(run_dir, 6, *flags, weights) == 2
    assert "is of another pipeline: vocabulary was" in capsys.readouterr().err
    unknown = "--gin.LanguageModel.task_weights={'embedded_catalog_ul2': 2.0}"
    assert train(tmp_path / "other", 4, *flags, unknown) == 2
    assert "unknown task of the run in LanguageModel.task_weights" in capsys.readouterr().err
    assert train(tmp_path / "other", 4, *flags, "--gin.EncoderConfig.vocab_size=2600") == 2
    assert "the vocabulary has 2560 pieces and" in capsys.readouterr().err


def test_training_on_rows_that_were_written_down_is_the_same(whole_run, evaluated, tmp_path, capsys, monkeypatch):
    def without_the_corpus(run):
        raise UserError("the corpus is not here")

    rows = ["data", "materialize", QUICKSTART, *SMALL, "--steps=40", f"--output={tmp_path / 'rows'}"]
    assert main(rows) == 0
    written = f"--gin.DataConfig.materialized='{tmp_path / 'rows'}'"
    assert train(tmp_path / "run", 40, written) == 0
    assert train(tmp_path / "run", 60) == 2  # the input may not change within a run
    live, own = (json.loads((run / "summary.json").read_text())["languages"] for run in (whole_run, tmp_path / "run"))
    assert own == live
    monkeypatch.setattr("m5jax.configuration.evaluate_pretrained.live_held_out", without_the_corpus)
    assert main(["evaluate", f"--run={tmp_path / 'run'}", "--name=written", "--samples=50"]) == 0
    one, other = (run / "evaluations" / name for run, name in ((whole_run, "held_out"), (tmp_path / "run", "written")))
    assert read_predictions(one) == read_predictions(other)
    groups, written_groups = (read_report_data(folder).groups for folder in (one, other))
    for group, written_group in zip(groups, written_groups, strict=True):
        without_baseline = {name: own for name, own in group.metrics.items() if name != "frequent_value_accuracy"}
        assert (written_group.name, written_group.metrics) == (group.name, without_baseline)
    assert "en: values have no baseline: the corpus is not here" in read_report_data(other).notes
    for one, other in zip(
        jax.tree.leaves(parameters(whole_run, 40)), jax.tree.leaves(parameters(tmp_path / "run", 40)), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    capsys.readouterr()
    assert train(tmp_path / "other", 20, written, "--gin.DataConfig.seed=1") == 2
    assert "another definition: seed was 0, is 1" in capsys.readouterr().err
    assert train(tmp_path / "other", 20, written, "--gin.DataConfig.evaluation_examples=20") == 2
    assert "another definition: evaluation_examples was 30, is 20" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_scores_of_a_run_and_a_task_curated_by_them(whole_run, tmp_path, capsys, monkeypatch):
    output = tmp_path / "scores.parquet"
    score = ["data", "score", f"--run={whole_run}", f"--output={output}"]
    assert main([*score, "--task=embedded_catalog_en_mlm", "--batch_size=30"]) == 0
    scores = pq.read_table(output)
    assert f"scores of {scores.num_rows:,} records written" in capsys.readouterr().out
    described = json.loads(scores.schema.metadata[b"m5jax"])
    assert (described["step"], described["task"]) == (40, "embedded_catalog_en_mlm")
    figures = json.loads((whole_run / "summary.json").read_text(encoding="utf-8"))
    mean = np.average(scores["loss"].to_numpy(), weights=scores["predicted_tokens"].to_numpy())
    assert mean == pytest.approx(figures["languages"]["en"]["loss"], abs=0.2)

    (tmp_path / "end_to_end_curated.py").write_text(
        "from m5jax.data.curation import add_curated_task\n"
        f"add_curated_task('hard_en_mlm', 'embedded_catalog_en_mlm', {str(output)!r})\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    modules = "--gin.TASK_MODULES=('tasks', 'end_to_end_curated')"
    assert train(tmp_path / "run", 3, modules, "--gin.MIXTURE='hard_en_mlm'") == 0
    capsys.readouterr()
    for more, message in (
        (["--task=embedded_catalog_en_mlm"], "scores.parquet exists"),
        (["--task=embedded_catalog_mlm", f"--output={tmp_path / 'other'}"], "is a mixture; score its tasks"),
        (["--task=embedded_catalog_en_mln", f"--output={tmp_path / 'other'}"], "did you mean embedded_catalog_en_mlm"),
        (["--task=hard_en_mlm", f"--output={tmp_path / 'other'}"], "is curated"),
        (["--task=embedded_catalog_en_ul2", f"--output={tmp_path / 'other'}"], "has targets to write"),
        (["--task=embedded_catalog_en_mlm", "--split=tes", f"--output={tmp_path / 'other'}"], "has no split 'tes'"),
    ):
        assert main([*score, *more]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert not (tmp_path / "other").exists()


def test_tensor_parallel_batch_that_the_mesh_divides(tmp_path):
    mesh = ["--gin_file=gin_configs/meshes/data2_fsdp2_tensor2.gin", "--gin.BATCH_SIZE=4"]
    assert train(tmp_path / "run", 2, *mesh) == 0


def test_commands_on_what_is_no_run(tmp_path, capsys):
    for command in ("evaluate", "embed --input=x.jsonl --output=y.parquet"):
        name, *flags = command.split()
        assert main([name, f"--run={tmp_path}", *flags]) == 2
        assert "is no run directory" in capsys.readouterr().err


def test_unknown_task_to_show(capsys):
    assert main(["tasks", "show", "embedded_catalog_mln"]) == 2
    assert "did you mean embedded_catalog_mlm" in capsys.readouterr().err


def test_help_of_every_command_says_how(capsys):
    for command in ("train", "evaluate", "embed", "search", "tasks", "vocabulary"):
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        assert stop.value.code == 0
        assert f"  m5jax {command}" in capsys.readouterr().out


def test_a_run_keeps_how_it_read_attributes_for_embedding(tmp_path):
    assert train(tmp_path / "typed", 2, "--gin.MIXTURE='embedded_catalog_typed_mlm'") == 0
    attributes = load_embedder(tmp_path / "typed").attributes
    assert attributes.style == "typed"
    assert ("Material", "Leinen") in [(name, value) for name, values in attributes.enumerations for value in values]

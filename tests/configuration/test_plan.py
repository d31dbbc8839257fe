"""`m5jax plan`: what it prints of real models, what it writes for `m5jax train`, and what it refuses."""

import dataclasses

import jax
import numpy as np
import pytest

from m5jax.cli.main import main
from m5jax.configuration.load import load_run
from m5jax.configuration.plan import find_model, parse_duration, rules_table
from m5jax.errors import UserError
from m5jax.models import FunctionalModel
from m5jax.training.optimizers import Adafactor, AdamW
from m5jax.training.schedules import Cosine
from m5jax.training.state import abstract_state
from partitioning import make_mesh
from partitioning.ahead_of_time import compile_program
from partitioning.hardware import get_chip
from partitioning.layout import Layout
from partitioning.memory_model import step_memory
from partitioning.mesh import MeshConfig
from partitioning.shares import Share


def plan(capsys, *arguments):
    status = main(["plan", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_command_prints_plans_and_what_a_run_takes(capsys):
    status, out, _ = plan(
        capsys, "--model=encoder_1500m", "--hardware=h100:16x8", "--tokens=250e9", "--within=2d", "--price=2"
    )
    assert status == 0
    assert "encoder_1500m, 1.5B parameters, on h100:16x8, 128 devices" in out
    assert "GiB a device, of 79.1: parameters" in out
    assert "accelerator-hours, " in out
    assert "ends within 2.0 days; the smallest that does: h100:" in out


@pytest.mark.parametrize("model", ["encoder_500m", "encoder_decoder_500m", "decoder_1b"])
@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_the_state_that_is_planned_is_the_state_that_is_trained(model, optimizer):
    layout = Layout(MeshConfig(2, 2, 2), optimizer=optimizer)
    planned = find_model(model, 512)
    memory = step_memory(planned.workload(), layout, get_chip("h100"), 8)
    functional = FunctionalModel.from_config(planned.config)
    made = (AdamW if optimizer == "adamw" else Adafactor)(Cosine(1e-3, 1, 10))
    state = abstract_state(functional, made.make(functional.logical_axes, 1.0), make_mesh(layout.mesh))

    def on_a_device(tree):
        shapes = ((leaf.sharding.shard_shape(leaf.shape), leaf.dtype) for leaf in jax.tree.leaves(tree))
        return sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in shapes)

    assert memory.parameters == on_a_device(state["parameters"])
    # optax counts steps, and keeps one number in place of each moment that is not used.
    placeholders = 0 if optimizer == "adamw" else 4 * 3 * len(planned.workload().tensors)
    assert 0 <= on_a_device(state["optimizer"]) - memory.optimizer <= placeholders + 12


def test_a_planned_step_compiles_for_the_devices_of_this_machine():
    planned = find_model("encoder_2m", 32)
    layout = Layout(MeshConfig(2, 2, 2), accumulation=2, remat=("full",), chunk=8)
    compiled = compile_program(planned.lower(layout, jax.devices(), 16), "cpu")
    workload, share = planned.workload(), Share.of(layout, 16)
    state = 12 * sum(tensor.size / share.shards(tensor) for tensor in workload.tensors)
    # The batch, and what is not split.
    assert state <= compiled.arguments <= state + 1e5
    assert compiled.memory > compiled.arguments


@pytest.mark.parametrize("model", ["encoder_decoder_2m", "decoder_2m"])
def test_a_planned_step_is_of_the_batch_that_was_planned(model):
    planned = find_model(model, 32)
    program = planned.lower(Layout(MeshConfig(2, 2, 2)), jax.devices(), 16).as_text()
    assert "tensor<16x32xi32>" in program
    assert f"tensor<16x{planned.predicted}xf32>" in program


def test_the_plan_that_is_written_is_what_train_reads(capsys, tmp_path):
    written = tmp_path / "plan.gin"
    arguments = ("--model=encoder_100b", "--hardware=h200:16x8", "--optimizer=adafactor", f"--output={written}")
    status, out, _ = plan(capsys, *arguments)
    assert status == 0
    assert f"written: {written}" in out
    run = load_run(
        ["gin_configs/experiments/multilingual_text.gin", str(written)], ["RUN_DIR='runs/planned'", "TRAIN_STEPS=10"]
    )
    assert (run.data.batch_size, run.data.length) == (2048, 512)
    assert run.model.width == 10_240
    assert run.model.remat in ("full", "offload", "dots", "attention_saved", "none")
    assert "Planned with adafactor, which the experiment has to use" in written.read_text(encoding="utf-8")
    mesh = dataclasses.asdict(run.mesh)
    assert np.prod(list(mesh.values())) == 128
    status, _, error = plan(capsys, *arguments)
    assert status == 2
    assert "exists; choose another --output" in error


@pytest.mark.parametrize(
    ("model", "experiment"), [("encoder_decoder_5b", "span_corruption"), ("decoder_8b", "causal_lm")]
)
def test_plans_of_models_that_write_are_read_too(capsys, tmp_path, model, experiment):
    written = tmp_path / "plan.gin"
    assert plan(capsys, f"--model={model}", "--hardware=v5p:4x4x4", f"--output={written}")[0] == 0
    run = load_run([f"gin_configs/experiments/{experiment}.gin", str(written)], ["RUN_DIR='runs/planned'"])
    assert run.data.targets_length > 100
    assert run.mesh != MeshConfig()


def test_rules_name_axes_bytes_and_why_something_is_whole():
    workload = find_model("decoder_8b", 512).workload()
    table = rules_table(workload, Layout(MeshConfig(1, 4, 16)))
    rows = {line.split()[0]: line for line in table.splitlines() if "/" in line or "norm" in line}
    assert "kv_heads: 16 does not divide 8" in rows["layers/attention/key"]
    assert "-, fsdp, -, -" in rows["layers/attention/key"]
    assert "-, fsdp, tensor, -" in rows["layers/attention/query"]
    # 32 x 4096 x 1024 x 4 bytes over 4 devices
    assert " 128.00" in rows["layers/attention/key"]
    assert rows["final_norm/scale"].split()[1:4] == ["4096", "embed", "fsdp"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model=encoder_1_5b"], "unknown model 'encoder_1_5b'; did you mean "),
        (["--model=encoder_2m", "--within=2d"], "--within needs --tokens"),
        (["--model=encoder_2m", "--price=2"], "--price needs --tokens"),
        (["--model=encoder_2m", "--output=nowhere/plan.gin"], "there is no nowhere; choose another --output"),
        (["--model=encoder_2m", "--tokens=1e9", "--within=soon"], "duration 'soon'; allowed: a number of hours, days"),
        (["--model=decoder_405b"], "does not fit on h100:1x8 in any layout; needed: h100:"),
        (["--model=encoder_2m", "--hardware=h100:9"], "h100 comes as DEVICES of one node"),
        (
            ["--model=encoder_2m", "--global-batch=3", "--hardware=v5e:4x4"],
            "splits the model and a batch of 3",
        ),
    ],
)
def test_what_cannot_be_planned_is_said_in_a_line(capsys, arguments, message):
    hardware = [] if any("--hardware" in argument for argument in arguments) else ["--hardware=h100:8"]
    status, _, error = plan(capsys, *arguments, *hardware)
    assert status == 2
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("text", "hours"), [("36h", 36), ("2d", 48), ("1.5w", 252)])
def test_durations(text, hours):
    assert parse_duration(text) == hours * 3600


@pytest.mark.parametrize("text", ["", "d", "2", "-1d", "2m", "nanh"])
def test_other_durations_are_refused(text):
    with pytest.raises(UserError, match="allowed: a number of hours, days or weeks"):
        parse_duration(text)

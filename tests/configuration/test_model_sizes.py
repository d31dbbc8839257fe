"""The family of gin_configs/models: as large as its names say, and what the table of sizes counts."""

import dataclasses
import math
from pathlib import Path

import jax
import pytest

from m5jax.cli.main import main
from m5jax.configuration.load import load_run
from m5jax.configuration.model_sizes import MODELS, PARTS, cache_bytes, count_parts, read_model
from m5jax.models import DecoderConfig, EncoderConfig, EncoderDecoderConfig, FunctionalModel

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = sorted((REPOSITORY / MODELS).glob("*.gin"))
SMALL = ("2m", "20m", "60m", "110m")
FAMILY = {
    "encoder": (*SMALL, "500m", "1500m", "5b", "10b", "20b", "100b"),
    "encoder_decoder": (*SMALL, "500m", "1500m", "5b", "10b", "20b", "100b"),
    "decoder": (*SMALL, "1b", "8b", "70b", "405b"),
}
KINDS = {"encoder": EncoderConfig, "encoder_decoder": EncoderDecoderConfig, "decoder": DecoderConfig}


def test_every_size_has_its_file():
    assert {f"{kind}_{size}" for kind, sizes in FAMILY.items() for size in sizes} <= {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_model_is_as_large_as_its_name_says_in_multiples_of_128(path):
    kind, _, size = path.stem.rpartition("_")
    config = read_model(path)
    assert type(config) is KINDS[max((known for known in KINDS if kind.startswith(known)), key=len)]
    named = float(size[:-1]) * {"k": 1e3, "m": 1e6, "b": 1e9}[size[-1]]
    model = FunctionalModel.from_config(config)
    assert model.parameter_count == pytest.approx(named, rel=0.03)
    assert [value for value in (config.vocab_size, config.width, config.mlp_hidden) if value % 128] == []
    parts = count_parts(model)
    assert sum(parts.values()) == model.parameter_count
    assert all(parts[part] > 0 for part in PARTS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_model_added_to_an_experiment_is_the_model(path):
    alone = read_model(path)
    experiments = {EncoderConfig: "quickstart", EncoderDecoderConfig: "span_corruption", DecoderConfig: "causal_lm"}
    experiment = f"gin_configs/experiments/{experiments[type(alone)]}.gin"
    run = load_run([experiment, str(path)], ["RUN_DIR='run'"])
    lengths = {} if isinstance(alone, EncoderDecoderConfig) else {"max_length": run.data.length}
    assert run.model == dataclasses.replace(alone, **lengths)


@pytest.mark.parametrize(("size", "parameters"), [("8b", 8_030_261_248), ("70b", 70_553_706_496)])
def test_the_decoders_are_llamas(size, parameters):
    """As counted by transformers; the vocabulary's rows included."""
    model = FunctionalModel.from_config(read_model(REPOSITORY / MODELS / f"decoder_{size}.gin"))
    assert model.parameter_count == parameters


def test_the_cache_is_what_writing_keeps():
    for name in ("decoder_2m", "encoder_decoder_2m"):
        config = read_model(REPOSITORY / MODELS / f"{name}.gin")
        model = FunctionalModel.from_config(config)
        tokens = jax.ShapeDtypeStruct((3, 16), "int32")

        def start(parameters, tokens, model=model):
            return model.bind(parameters).start(tokens, tokens, 8)[1]

        cache = jax.eval_shape(start, model.abstract_parameters, tokens)
        kept = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves((cache.own, cache.crossed)))
        assert cache_bytes(config) * 3 * (16 + 8) == 2 * kept  # two bytes each in bfloat16


def test_sizes_of_all_models_or_of_those_named(tmp_path, capsys):
    assert main(["models", "sizes"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert len(table) == len(FILES) + 2
    assert main(["models", "sizes", "gin_configs/models/decoder_8b.gin", "--length=8192"]) == 0
    (line,) = capsys.readouterr().out.splitlines()[2:]
    assert line.split()[:2] == ["decoder_8b", "8.03G"]
    (tmp_path / "none.gin").write_text("Cosine.peak = 0.1\n", encoding="utf-8")
    assert main(["models", "sizes", str(tmp_path / "none.gin")]) == 2
    assert "none.gin binds no model; allowed: one of EncoderConfig" in capsys.readouterr().err

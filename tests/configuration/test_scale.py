"""Predicted bytes beside those of the compilers, as `benchmarks/scale.py` found them."""

import json

import pytest

from benchmarks.scale import PAGE, RESULT
from m5jax.configuration.plan import find_model
from partitioning.layout import Layout
from partitioning.memory_model import step_memory
from partitioning.mesh import MeshConfig
from partitioning.slices import parse_slice

# Not predicted as well yet: what encoder-decoders and decoders keep where nothing is recomputed, on GPUs up to 1.33 of
# what it is, and biases of scores on TPUs.
OFF = {
    **{f"encoder_decoder_{size}": ("a100", "v5e") for size in ("2m", "20m", "60m", "110m")},
    **{f"decoder_{size}": ("a100",) for size in ("2m", "20m", "60m", "110m")},
    "encoder_decoder_500m": ("h100",),
    "encoder_decoder_5b": ("v6e",),
    "encoder_decoder_20b": ("h200",),
    "decoder_1b": ("h100", "v6e"),
    "decoder_8b": ("h200",),
}


def is_off(row):
    return row["topology"].startswith(OFF.get(row["model"], ()))


ROWS = [
    pytest.param(row, marks=[pytest.mark.xfail(reason="off by more", strict=True)] if is_off(row) else [])
    for row in json.loads(RESULT.read_text(encoding="utf-8"))["rows"]
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['model']}-{row['topology']}")
def test_memory_is_predicted_within_a_tenth_of_the_compilers(row):
    chip = parse_slice(row["topology"]).chip
    pipelined = {name: row[name] for name in ("microbatches", "rounds") if name in row}
    names = ("accumulation", "remat", "optimizer", "chunk")
    layout = Layout(MeshConfig(**row["mesh"]), **{name: row[name] for name in names}, **pipelined)
    predicted = step_memory(find_model(row["model"], row["tokens"]).workload(), layout, chip, row["rows"])
    assert predicted.total == pytest.approx(row["compiled_bytes"], rel=0.1)
    assert row["compiled_bytes"] < chip.memory


def test_the_page_has_the_tables():
    text = PAGE.read_text(encoding="utf-8")
    for name in ("sizes", "published", "trillion"):
        table = text.partition(f"<!-- {name} -->")[2].partition(f"<!-- end of {name} -->")[0]
        assert len(table.splitlines()) > 5

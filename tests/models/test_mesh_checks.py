"""Meshes that a model does not split over are refused with the axis, the setting and its size."""

import jax
import pytest

from m5jax.models.mesh_checks import check_mesh
from partitioning import MESH_AXES, MeshConfig, PartitioningError
from tests.models.tiny import encoder_config


def mesh(**sizes: int) -> jax.sharding.AbstractMesh:
    return jax.sharding.AbstractMesh(tuple(MeshConfig(**({"data": 1} | sizes)).sizes.values()), MESH_AXES)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"tensor": 4}, "MeshConfig.tensor = 4 does not divide EncoderConfig.heads = 2"),
        ({"fsdp": 3}, "MeshConfig.fsdp = 3 does not divide EncoderConfig.width = 16"),
        ({"sequence": 3}, "MeshConfig.sequence = 3 does not divide DataConfig.length = 8"),
        ({"pipeline": 2}, "MeshConfig.pipeline = 2 stages x EncoderConfig.pipeline_rounds = 1 do not divide 3"),
    ],
)
def test_what_does_not_divide_is_named(sizes, message):
    with pytest.raises(PartitioningError, match=message):
        check_mesh(encoder_config(), mesh(**sizes), 8)


def test_hidden_units_and_vocabulary_have_to_divide_too():
    with pytest.raises(PartitioningError, match="does not divide EncoderConfig.mlp_hidden = 23"):
        check_mesh(encoder_config(mlp_hidden=23), mesh(tensor=2), 8)
    with pytest.raises(PartitioningError, match="does not divide EncoderConfig.vocab_size = 41"):
        check_mesh(encoder_config(vocab_size=41), mesh(tensor=2), 8)


def test_near_tokens_are_not_split_over_devices():
    config = encoder_config(global_every=2)
    check_mesh(config, mesh(tensor=2, fsdp=2), 8)
    with pytest.raises(PartitioningError, match=r"MeshConfig.sequence = 2 cannot split layers that see near tokens"):
        check_mesh(config, mesh(sequence=2), 8)


def test_layers_divide_over_stages_rounds_and_policies():
    check_mesh(encoder_config(layers=8, pipeline_rounds=2, remat=("none", "full")), mesh(pipeline=2), 8)
    with pytest.raises(
        PartitioningError, match="pipeline_rounds = 2 x 2 policies of EncoderConfig.remat do not divide 4"
    ):
        check_mesh(encoder_config(layers=4, pipeline_rounds=2, remat=("none", "full")), mesh(pipeline=2), 8)
    with pytest.raises(PartitioningError, match="does not divide EncoderConfig.pipeline_microbatches = 3"):
        check_mesh(encoder_config(layers=4, pipeline_microbatches=3), mesh(pipeline=2), 8)


def test_a_mesh_that_divides_is_taken():
    check_mesh(encoder_config(), mesh(tensor=2, fsdp=4, sequence=2), 8)

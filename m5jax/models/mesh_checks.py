"""What a mesh must divide of a model."""

from jax.sharding import AbstractMesh, Mesh

from m5jax.models.settings import ModelSettings
from m5jax.models.stack import remat_cycle
from partitioning import PartitioningError


def check_mesh(
    config: ModelSettings, mesh: Mesh | AbstractMesh, length: int, setting: str = "DataConfig.length"
) -> None:
    """Raises PartitioningError unless the mesh splits a model, and rows of `length` tokens, a `setting`, by its axes.

    Heads of keys and values may be fewer than `tensor`: each device then has all of them. Targets of an encoder-decoder
    that `sequence` does not divide are not split.
    """
    divided = [("tensor", config.named(name), getattr(config, name)) for name in ("heads", "mlp_hidden", "vocab_size")]
    divided += [("fsdp", config.named("width"), config.width), ("sequence", setting, length)]
    for axis, name, size in divided:
        if size % mesh.shape[axis]:
            raise PartitioningError(f"MeshConfig.{axis} = {mesh.shape[axis]} does not divide {name} = {size}")
    _check_stages(config, mesh.shape["pipeline"])
    if mesh.shape["sequence"] > 1 and config.global_every > 1:
        raise PartitioningError(
            f"MeshConfig.sequence = {mesh.shape['sequence']} cannot split layers that see near tokens; allowed: 1, or "
            f"{config.named('global_every')} = 1"
        )


def _check_stages(config: ModelSettings, stages: int) -> None:
    """Raises PartitioningError unless layers, and micro-batches, divide over the stages of a pipeline."""
    if stages == 1:
        return
    rounds, cycle = config.pipeline_rounds, len(remat_cycle(config.remat))
    for stack in config.stacks(1.0, 1.0):
        if stack.layers % (stages * rounds * cycle):
            policies = f" x {cycle} policies of {config.named('remat')}" if cycle > 1 else ""
            raise PartitioningError(
                f"MeshConfig.pipeline = {stages} stages x {config.named('pipeline_rounds')} = {rounds}{policies} "
                f"do not divide {stack.layers} layers"
            )
    if config.pipeline_microbatches % stages:
        raise PartitioningError(
            f"MeshConfig.pipeline = {stages} does not divide {config.named('pipeline_microbatches')} = "
            f"{config.pipeline_microbatches}"
        )

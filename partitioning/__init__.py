"""Meshes, logical-axis rules and hardware figures. Imports nothing of m5jax."""

from partitioning.batches import batch_sharding, batch_share, global_batch
from partitioning.current_mesh import constrain, current_parts, current_spec
from partitioning.errors import PartitioningError
from partitioning.hardware import peak_flops
from partitioning.mesh import BATCH_AXES, MESH_AXES, MeshConfig, batch_shards, check_batch, make_mesh
from partitioning.rules import (
    DEFAULT_RULES,
    named_sharding,
    partition_spec,
    tree_shapes,
    tree_shardings,
)

__all__ = [
    "BATCH_AXES",
    "DEFAULT_RULES",
    "MESH_AXES",
    "MeshConfig",
    "PartitioningError",
    "batch_share",
    "batch_sharding",
    "batch_shards",
    "check_batch",
    "constrain",
    "current_parts",
    "current_spec",
    "global_batch",
    "make_mesh",
    "named_sharding",
    "partition_spec",
    "peak_flops",
    "tree_shapes",
    "tree_shardings",
]

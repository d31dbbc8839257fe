"""Host rows to global arrays."""

import numpy as np

from partitioning import MeshConfig, batch_sharding, global_batch, make_mesh


def test_rows_are_split_over_data_and_fsdp_and_keep_their_order() -> None:
    mesh = make_mesh(MeshConfig(2, 2, 2))
    rows = {"inputs": np.arange(32, dtype=np.int32).reshape(8, 4), "weights": np.ones(8, np.float32)}
    arrays = global_batch(mesh, rows)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, rows[name])
        assert array.sharding == batch_sharding(mesh)
        assert {shard.data.shape[0] for shard in array.addressable_shards} == {2}

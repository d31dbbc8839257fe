"""Devices of hardware that is not here, for compiling ahead of time: XLA needs a description of them only.

TPUs come from `libtpu`, NVIDIA GPUs from JAX's CUDA plugin; both run on any Linux machine.
"""

import os

import jax
from jax.experimental import topologies

from partitioning.errors import PartitioningError
from partitioning.slices import Slice

INSTALL = "pip install 'm5jax[plan]'"

# What the compiler must know of a GPU (XLA's `GpuTargetConfigProto`), from the vendor's architecture white papers.
_GPU = """
gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  shared_memory_per_core: {shared_per_core} shared_memory_per_block_optin: {shared_per_block}
  threads_per_core_limit: 2048 core_count: {cores} fpus_per_core: {fpus} block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535 block_dim_limit_z: 65535 memory_bandwidth: {bandwidth} l2_cache_size: {l2}
  clock_rate_ghz: {clock} device_memory_size: {memory} cuda_compute_capability {{ {capability} }}
  registers_per_core_limit: 65536 registers_per_block_limit: 65536 thread_dim_limit_x: 1024 thread_dim_limit_y: 1024
  thread_dim_limit_z: 64 device_vendor: "NVIDIA Corporation" platform_version: "Compute Capability {version}"
  device_address_bits: 64 pcie_bandwidth: 34359738368 ecc_enabled: true name: "NVIDIA {kind}" driver_version: "13.0.0"
  runtime_version: "12.9.0" compile_time_toolkit_version: "12.9.0" dnn_version: "9.10.0"
  device_interconnect_info {{ active_links: {links} }}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
runtime_version {{ major: 12 minor: 9 patch: 0 }}
device_description_str: "NVIDIA {kind}"
"""
_HOPPER = {
    "shared_per_core": 233472,
    "shared_per_block": 232448,
    "cores": 132,
    "fpus": 128,
    "l2": 52428800,
    "clock": 1.98,
    "capability": "major: 9 feature_extension: ACCELERATED_FEATURES",
    "version": "9.0a",
    "links": 18,
}
_AMPERE = {
    "shared_per_core": 167936,
    "shared_per_block": 166912,
    "cores": 108,
    "fpus": 64,
    "l2": 41943040,
    "clock": 1.41,
    "capability": "major: 8",
    "version": "8.0",
    "links": 12,
}
_GPUS = {"h200": _HOPPER, "h100": _HOPPER, "a100": _AMPERE, "a100-40gb": _AMPERE}


def topology_devices(slice_: Slice) -> list[jax.Device]:
    """Returns the devices of a slice, to compile for and not to run on.

    Raises:
      PartitioningError: the compiler is not installed, or does not know such a slice.
    """
    if slice_.chip.platform == "cuda" and slice_.chip.name not in _GPUS:
        raise PartitioningError(
            f"programs for {slice_.chip.name} cannot be compiled here; those for {', '.join(_GPUS)} can"
        )
    try:
        return _tpu_devices(slice_) if slice_.chip.platform == "tpu" else _gpu_devices(slice_)
    except (RuntimeError, ValueError, ImportError) as error:
        text = (str(error) or type(error).__name__).splitlines()[0]
        if _is_missing(error):
            raise PartitioningError(f"no compiler for {slice_.name} is installed: {INSTALL}") from error
        raise PartitioningError(f"the compiler knows no {slice_.name}: {text}") from error


def _is_missing(error: Exception) -> bool:
    return isinstance(error, ImportError) or any(word in str(error) for word in ("not installed", "not implemented"))


def _tpu_devices(slice_: Slice) -> list[jax.Device]:
    # Compiling takes no chip from another process.
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    options: dict[str, object] = {"num_slices": slice_.count} if slice_.count > 1 else {}
    if slice_.chip.name == "v4":
        options["chip_config_name"] = "megacore"  # both cores of a chip as one device
    shape = "x".join(map(str, slice_.shape))
    return topologies.get_topology_desc(f"{slice_.chip.name}:{shape}", platform="tpu", **options).devices


def _gpu_devices(slice_: Slice) -> list[jax.Device]:
    chip, (nodes, devices) = slice_.chip, slice_.shape
    described = _GPU.format(
        kind=chip.kind, memory=int(chip.memory), bandwidth=int(chip.memory_bandwidth), **_GPUS[chip.name]
    )
    return topologies.get_topology_desc(
        chip.name, platform="cuda", target_config=described, topology=f"1x{nodes}x{devices}"
    ).devices

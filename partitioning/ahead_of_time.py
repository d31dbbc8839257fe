"""What the compiler says of a program for hardware that is not here."""

import dataclasses
import re
import time

import jax

from partitioning.errors import PartitioningError

# Without a device to time them on, XLA finds no tiles for some of its own matrix kernels; libraries' have theirs.
_OPTIONS: dict[str, dict[str, bool | str]] = {"cuda": {"xla_gpu_enable_triton_gemm": False}}


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A program on one device of its mesh.

    Attributes:
      memory: bytes at the peak, arguments among them.
      arguments: bytes of the state and the batch.
      seconds: that compiling took.
    """

    memory: float
    arguments: float
    seconds: float


class OutOfMemory(PartitioningError):
    """The compiler's word that a program needs more memory than a device has."""


def compile_program(lowered: jax.stages.Lowered, platform: str) -> Compiled:
    """Compiles a program for the devices of its shardings, of `platform` "tpu", "cuda" or "cpu".

    Raises:
      OutOfMemory: it needs more than a TPU has; for GPUs the compiler does not check.
    """
    began, effort = time.monotonic(), jax.config.values["jax_exec_time_optimization_effort"]
    # Half the time and memory of compiling, and peaks of TPU programs within 3% of those at full effort.
    jax.config.update("jax_exec_time_optimization_effort", -1.0)
    try:
        analysis = lowered.compile(_OPTIONS.get(platform)).memory_analysis()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        needed = re.search(r"\(?([\d.]+[KMGT])\)? exceeds available HBM \(([\d.]+[KMGT])\)", str(error))
        said = f"{needed[1]} of {needed[2]}" if needed else str(error).splitlines()[0]
        raise OutOfMemory(f"the compiler ran out of memory: {said}") from error
    finally:
        jax.config.update("jax_exec_time_optimization_effort", effort)
    if analysis is None:
        raise PartitioningError(f"the compiler for {platform} does not say what its programs need")
    arguments = analysis.argument_size_in_bytes
    # TPU programs may be as large as the peak, whatever their temporaries add up to: libtpu 0.0.42 compiles one with
    # 20.9 GiB of these and a peak of 14.2 GiB for a v5e's 15.75 GiB. XLA's GPU programs take their temporaries at once.
    kept = arguments + analysis.temp_size_in_bytes + analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    memory = analysis.peak_memory_in_bytes if platform == "tpu" else kept
    return Compiled(float(memory), float(arguments), time.monotonic() - began)

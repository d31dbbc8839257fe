"""How XLA compiles for the tests: most of their time goes into that, of programs that then run for a moment."""

from importlib.metadata import version

_QUICK = ["--xla_backend_optimization_level=0", "--xla_cpu_parallel_codegen_split_count=1"]
# To make MLIR of each fusion costs a third of the time to compile; XLA refuses flags that it does not know.
_QUICK += ["--xla_cpu_use_fusion_emitters=false"] if version("jaxlib").startswith("0.10.") else []


def xla_flags(devices: int) -> str:
    """Returns the value of XLA_FLAGS for so many simulated devices and machine code that is quick to make."""
    return " ".join([f"--xla_force_host_platform_device_count={devices}", *_QUICK])

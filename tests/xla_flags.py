"""How XLA compiles for the tests: most of their time goes into that, of programs that then run for a moment."""

# The emitter that makes MLIR of each fusion, and the several LLVM modules of a program, cost nearly half of that time.
_QUICK = (
    "--xla_backend_optimization_level=0",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
)


def xla_flags(devices: int) -> str:
    """Returns the value of XLA_FLAGS for so many simulated devices and machine code that is quick to make."""
    return " ".join([f"--xla_force_host_platform_device_count={devices}", *_QUICK])

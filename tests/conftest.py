"""Eight simulated CPU devices and checked shapes, set up before anything imports jax or the packages under test."""

import gc
import os
import signal
import tempfile

import hypothesis
from jaxtyping import install_import_hook

from tests.xla_flags import xla_flags

# A shell that runs the tests in the background has them ignore SIGINT, which some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What is compiled stays for long: to look through it for garbage as often as Python does takes a twentieth of the time.
gc.set_threshold(100_000, 20, 100)

os.environ["JAX_PLATFORMS"] = "cpu"
GIVEN = os.environ.get("XLA_FLAGS")
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count=8 {GIVEN}" if GIVEN else xla_flags(devices=8)

# Many tests compile the same small programs, in this process, in pytest-xdist's and in those that tests start.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    CACHE = tempfile.TemporaryDirectory(prefix="m5jax_tests_")  # lives as long as this process
    os.environ["JAX_COMPILATION_CACHE_DIR"] = CACHE.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"

# A first example compiles, and CI machines are slow.
hypothesis.settings.register_profile("m5jax", deadline=None)
hypothesis.settings.load_profile("m5jax")

# The modules of tensor functions; protocols elsewhere are for static checks only.
MODELS = [
    "attention",
    "classifier",
    "comparison",
    "layer_parts",
    "decoder",
    "decoding_cache",
    "dot_product_attention",
    "encoder",
    "encoder_decoder",
    "heads",
    "layers",
    "lexical",
    "low_rank",
    "ngram_encoder",
    "products",
    "relative_positions",
]
MODELS += ["rotary", "stack", "two_tower", "views"]
install_import_hook([f"m5jax.models.{name}" for name in MODELS] + ["m5jax.objectives"], "beartype.beartype")

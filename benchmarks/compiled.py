"""What the compiler makes of models: memory of the loss at a large vocabulary, size and compile time in depth.

    python benchmarks/compiled.py

Nothing is run. Memory is the temporary memory that XLA states for the gradients of an encoder-decoder's loss, of 8 rows
of 512 targets and a vocabulary of 262,144, with logits of so many positions of a row held together. Size is that of the
lowered program, in bytes of text, of the gradients of a narrow model with few and with many layers.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp

from benchmarks.environment import environment
from m5jax.evaluation.tables import format_table
from m5jax.models import DecoderConfig, EncoderConfig, EncoderDecoderConfig, FunctionalModel
from m5jax.objectives import LanguageModel, SequenceToSequence

RESULT = Path(__file__).resolve().parent / "results" / "compiled.json"
VOCABULARY, ROWS, LENGTH = 262_144, 8, 512
CHUNKS = (0, 128, 32, 8)
DEPTHS = (24, 96)
NARROW = {"vocab_size": 512, "width": 128, "heads": 2, "mlp_hidden": 256}
MODELS: dict[str, Callable[[int], Any]] = {
    "encoder": lambda depth: EncoderConfig(**NARROW, layers=depth),
    "encoder-decoder": lambda depth: EncoderDecoderConfig(
        **NARROW, head_dim=64, encoder_layers=depth, decoder_layers=depth
    ),
    "decoder": lambda depth: DecoderConfig(**NARROW, head_dim=64, kv_heads=1, layers=depth),
}


def lowered(config: Any, objective: Any, rows: int, length: int) -> Any:
    """Returns the lowered gradients of an objective."""
    model = FunctionalModel.from_config(config)
    tokens = jax.ShapeDtypeStruct((rows, length), jnp.int32)
    names = ["inputs", "segment_ids", "positions", "targets", "predicted_positions"]
    names += ["target_segment_ids", "target_positions"]
    batch = dict.fromkeys(names, tokens) | {"loss_weights": jax.ShapeDtypeStruct((rows, length), jnp.float32)}

    def loss(parameters: Any, batch: Any) -> Any:
        return objective(model.bind(parameters), batch, None)[0].total

    return jax.jit(jax.grad(loss)).lower(model.abstract_parameters, batch)


def memory(chunk: int) -> dict[str, Any]:
    """Returns the temporary memory of the gradients with logits in chunks."""
    config = EncoderDecoderConfig(
        vocab_size=VOCABULARY, width=512, encoder_layers=1, decoder_layers=1, heads=8, head_dim=64, mlp_hidden=1024
    )
    compiled = lowered(config, SequenceToSequence(chunk_length=chunk), ROWS, LENGTH).compile()
    return {"chunk": chunk or LENGTH, "temporary_bytes": compiled.memory_analysis().temp_size_in_bytes}


def size(name: str, depth: int) -> dict[str, Any]:
    """Returns how large a model's lowered gradients are, and how long they take to compile."""
    objective = SequenceToSequence() if name == "encoder-decoder" else LanguageModel()
    started = time.perf_counter()
    program = lowered(MODELS[name](depth), objective, 2, 128)
    traced = time.perf_counter()
    program.compile()
    return {
        "model": name,
        "layers": depth,
        "program_bytes": len(program.as_text()),
        "trace_seconds": round(traced - started, 2),
        "compile_seconds": round(time.perf_counter() - traced, 2),
    }


def main() -> None:
    memories = [memory(chunk) for chunk in CHUNKS]
    size("encoder", 2)  # so that the first does not pay for what is loaded once
    sizes = [size(name, depth) for name in MODELS for depth in DEPTHS]
    result = {"environment": environment(), "memory": memories, "sizes": sizes}
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    rows = [[f"{row['chunk']}", f"{row['temporary_bytes'] / 2**30:.2f}"] for row in memories]
    print(format_table(("positions together", "GiB"), rows, ("right", "right")), end="\n\n")
    rows = [[str(value) for value in row.values()] for row in sizes]
    print(format_table(list(sizes[0]), rows, ("left", *["right"] * 4)))


if __name__ == "__main__":
    main()

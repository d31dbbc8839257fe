"""How commands that train end: with a table, or stopped with a checkpoint saved."""

from collections.abc import Callable
from typing import Any


def run_training(train: Callable[[Any], str], config: Any) -> int:
    """Trains what is configured, prints the table that ends it in the first process, and returns the exit status."""
    import jax

    from m5jax.training.interruption import EXIT_INTERRUPTED, TrainingInterrupted

    try:
        table = train(config)
    except TrainingInterrupted as interruption:
        print(f"m5jax: {interruption}")
        return EXIT_INTERRUPTED
    if jax.process_index() == 0:
        print(table)
    return 0

"""Examples that stand in the training data and in data that measures."""

import logging
from collections.abc import Sequence

from m5jax.errors import UserError, unknown_name
from m5jax.finetuning.examples import Example

logger = logging.getLogger(__name__)

POLICIES = ("refuse", "allow", "drop")
_SHOWN, _CHARACTERS = 3, 60


def without_overlap(training: list[Example], held_out: Sequence[Example], policy: str, name: str) -> list[Example]:
    """Returns the training examples that may be used beside held-out ones.

    Args:
        training: the examples.
        held_out: those that are measured.
        policy: of examples with the same texts: "refuse", "allow" (they are counted), or "drop" from the training.
        name: of the held-out examples, for messages.

    Raises:
        UserError: there are such examples, and they are refused; or none is left.
    """
    if policy not in POLICIES:
        raise unknown_name("overlap", policy, POLICIES)
    keys = {example.key for example in held_out}
    shared = [example for example in training if example.key in keys]
    if not shared:
        return training
    message = describe_overlap(shared, len(training), "training", name)
    if policy == "refuse":
        raise UserError(f"{message}; allow it with --overlap=allow, or leave them out of the training with drop")
    logger.warning("%s: %s", message, "allowed" if policy == "allow" else "left out of the training")
    if policy == "allow":
        return training
    kept = [example for example in training if example.key not in keys]
    if not kept:
        raise UserError(f"{message}: none is left to train on")
    return kept


def describe_overlap(shared: Sequence[Example], count: int, own: str, other: str) -> str:
    """Returns one line of what is shared of `count` examples, whose data and the others' are named so."""
    shown = "; ".join(f"{item.location} {' | '.join(item.texts)[:_CHARACTERS]!r}" for item in shared[:_SHOWN])
    return f"{len(shared)} of {count} {own} examples are in the {other} data too, such as {shown}"

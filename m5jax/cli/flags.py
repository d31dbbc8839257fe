"""Values of flags."""

import argparse
import math
from collections.abc import Sequence

from m5jax.errors import UserError


def positive(text: str) -> int:
    """Returns an integer of 1 or more; argparse names the flag where it is none."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of 1 or more")
    return value


def positive_number(text: str) -> float:
    """Returns a finite number above 0; argparse names the flag where it is none."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def parse_pairs(pairs: Sequence[str], flag: str) -> dict[str, str]:
    """Returns {name: value} of `NAME=VALUE` texts; raises UserError for one without `=`."""
    parsed = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UserError(f"{flag} {pair!r} is not of the form NAME=VALUE")
        parsed[name] = value
    return parsed

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


def add_process_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags by which one of several processes finds the others."""
    group = parser.add_argument_group("several processes")
    group.add_argument("--distributed", action="store_true", help="one of those that SLURM, Kubernetes or a TPU starts")
    group.add_argument("--coordinator", metavar="HOST:PORT", help="of process 0, on any free port")
    group.add_argument("--processes", type=positive, metavar="N", help="how many there are")
    group.add_argument("--process", type=int, metavar="I", help="which this is, from 0")


def join_others(arguments: argparse.Namespace) -> None:
    """Joins the other processes of a run where there are any.

    Raises:
        UserError: only some of the flags are given, or the others are not reached or not alike.
    """
    named = [arguments.coordinator, arguments.processes, arguments.process]
    if named == [None] * 3 and not arguments.distributed:
        return
    from m5jax.training.processes import join_cluster, join_processes

    if arguments.distributed:
        if named != [None] * 3:
            raise UserError("--distributed finds the other processes by itself; leave the other flags away")
        join_cluster()
    elif None in named:
        raise UserError("--coordinator, --processes and --process go together; give all three, or --distributed")
    else:
        join_processes(*named)

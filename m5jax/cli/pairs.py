"""`NAME=VALUE` flags."""

from collections.abc import Sequence

from m5jax.errors import UserError


def parse_pairs(pairs: Sequence[str], flag: str) -> dict[str, str]:
    """Returns {name: value}; raises UserError for a pair without `=`."""
    parsed = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UserError(f"{flag} {pair!r} is not of the form NAME=VALUE")
        parsed[name] = value
    return parsed

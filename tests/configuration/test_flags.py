import argparse

import pytest

from m5jax.configuration.flags import parse_pairs, positive
from m5jax.errors import UserError


def test_positive_takes_integers_from_one() -> None:
    assert positive("12") == 12
    for text in ("0", "-1", "1.5", "many", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="is not an integer of 1 or more"):
            positive(text)


def test_pairs_are_split_at_the_first_equals_sign() -> None:
    assert parse_pairs(["a=b", "c=d=e", "f="], "--column") == {"a": "b", "c": "d=e", "f": ""}
    for wrong in ("a", "=b"):
        with pytest.raises(UserError, match="--column .* is not of the form NAME=VALUE"):
            parse_pairs([wrong], "--column")

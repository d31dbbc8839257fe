import dataclasses

import pytest

from m5jax.data.preparation.settings import Preparation
from m5jax.errors import UserError

GOOD = Preparation(input="raw.jsonl", output="out")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"input": ""}, "no input is named"),
        ({"output": ""}, "no output is named"),
        ({"output": "gs://bucket/out"}, "name one that every worker has mounted"),
        ({"kind": "txt"}, "did you mean text"),
        ({"column_mapping": {"txt": "body"}}, "unknown field of a text row 'txt'; did you mean text"),
        ({"input": {"a/b": "x.jsonl"}}, "'a/b' cannot name a split"),
        ({"validation_fraction": 1.0}, "validation_fraction = 1.0"),
        ({"reject_limit": -0.1}, "reject_limit = -0.1"),
        ({"shard_megabytes": 0}, "shard_megabytes = 0"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(GOOD, **wrong)


def test_the_fingerprint_follows_settings_and_input_and_not_the_output():
    files = {"train": [("raw.jsonl", 10, 1)]}
    assert GOOD.fingerprint(files) == dataclasses.replace(GOOD, output="elsewhere").fingerprint(files)
    assert GOOD.fingerprint(files) != dataclasses.replace(GOOD, validation_fraction=0.1).fingerprint(files)
    assert GOOD.fingerprint(files) != GOOD.fingerprint({"train": [("raw.jsonl", 11, 1)]})

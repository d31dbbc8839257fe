"""Held-out rows that were written down: those of the live pipeline to the bit, with the same baseline."""

from pathlib import Path

import numpy as np
import pytest

from m5jax.data.embedded_catalog.corpus import embedded_catalog_vocabulary
from m5jax.data.evaluation_batches import evaluation_tasks
from m5jax.data.held_out_rows import read_held_out, write_held_out
from m5jax.data.vocabulary import set_current_vocabulary
from m5jax.evaluation.held_out import HeldOut, WrittenHeldOut, language_results
from m5jax.evaluation.live_held_out import LiveHeldOut
from tasks.embedded_catalog import LANGUAGES


def results(held_out: HeldOut):  # type: ignore[no-untyped-def]
    values = {f"evaluation/{label}/{metric}": 0.5 for label in held_out.labels for metric in ("loss", "accuracy")}
    return language_results(held_out, values)


@pytest.mark.parametrize(
    ("mixture", "targets_length", "separate"),
    [
        ("embedded_catalog_mlm", 0, False),
        ("embedded_catalog_ul2", 32, False),
        ("embedded_catalog_span_corruption", 24, True),
    ],
)
def test_written_rows_are_the_live_ones(tmp_path: Path, mixture: str, targets_length: int, separate: bool) -> None:
    set_current_vocabulary(embedded_catalog_vocabulary())
    live = LiveHeldOut(evaluation_tasks(mixture), 64, targets_length, max_examples=40, separate_targets=separate)
    write_held_out(tmp_path, live.rows(), {"mixture": mixture})
    written = WrittenHeldOut(read_held_out(tmp_path, {"mixture": mixture}))
    assert written.labels == live.labels == tuple(sorted(LANGUAGES))
    for label in live.labels:
        for batch_size in (1, 7, 64):
            pairs = list(zip(live.batches(label, batch_size), written.batches(label, batch_size), strict=True))
            assert pairs
            for expected, found in pairs:
                assert expected.keys() == found.keys()
                for name in expected:
                    assert expected[name].dtype == found[name].dtype
                    np.testing.assert_array_equal(expected[name], found[name])
    assert results(written) == results(live)

import json
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from m5jax.data.preparation.report import write_report
from m5jax.data.preparation.settings import Preparation
from m5jax.data.preparation.statistics import QUANTILES, quantiles, statistics_table, summarize
from m5jax.data.preparation.transforms import MOST_LISTED, reason_tally, settle_rejected

SETTINGS = Preparation(input="raw.jsonl", output="out")


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60))
def test_quantiles_are_those_of_numpy(lengths):
    found = quantiles(Counter(lengths))
    for share in QUANTILES:
        assert found[f"{share:g}"] == np.quantile(lengths, share, method="inverted_cdf")


def test_tallies_of_several_workers_add_up():
    tallies = [
        (("read", "en", "", 0), 6),
        (("dropped", "en", "near_duplicate", 0), 2),
        (("dropped", "en", "too_few_words", 0), 1),
        (("characters", "en", "train", 20), 2),
        (("characters", "en", "test", 1000), 1),
        (("words", "en", "train", 4), 2),
        (("words", "en", "test", 150), 1),
        (("bytes", "en", "train", 0), 80),
        (("bytes", "en", "test", 0), 1100),
        (("read", "de", "", 0), 1),
        (("dropped", "de", "near_duplicate", 0), 1),
        (("rejected", "", "not JSON", 0), 3),
    ]
    statistics = summarize(tallies, SETTINGS, {"train": []})
    english = statistics["languages"]["en"]
    assert english["splits"]["train"] == {"records": 2, "bytes": 80, "characters": 40, "words": 8}
    assert english["splits"]["test"] == {"records": 1, "bytes": 1100, "characters": 1000, "words": 150}
    assert (statistics["read"], statistics["kept"], statistics["rejected"]) == (7, 3, 3)
    assert statistics["dropped"] == {"near_duplicate": 3, "too_few_words": 1}
    assert sum(count for _, count in english["character_histogram"]) == 3
    table = statistics_table(statistics)
    assert "near_duplicate" in table
    assert "bad rows: 3" in table


def test_the_report_escapes_what_comes_from_the_input(tmp_path):
    tallies = [
        (("read", "en", "", 0), 1),
        (("rejected", "", "<b>reason</b>", 0), 1),
        (("characters", "en", "train", 9), 1),
    ]
    write_report(tmp_path, summarize(tallies, SETTINGS, {"train": [["<i>.jsonl", 1, 2]]}))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;reason" in text
    assert "<b>" not in text
    assert "<i>" not in text


def test_reasons_are_counted_without_names_and_numbers():
    first, second = (reason_tally(("f:1", f"id 'a{n}' came before, at f:{n}")) for n in (1, 22))
    assert first == second


def test_only_so_many_bad_rows_are_held(tmp_path):
    rows = ((f"raw.jsonl:{number:07d}", "bad") for number in range(MOST_LISTED + 5))
    (number,) = settle_rejected(("", {"rejected": rows}), 10**8, 0.01, str(tmp_path / "rejected.jsonl"))
    assert number == MOST_LISTED + 5
    lines = (tmp_path / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == MOST_LISTED
    assert json.loads(lines[0])["location"] == "raw.jsonl:0000000"

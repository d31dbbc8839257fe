"""BM25 against its formula, one word and one text at a time."""

import collections
import logging
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from m5jax.errors import UserError
from m5jax.retrieval.bm25 import BM25, words_of
from m5jax.retrieval.ranking import NO_DOCUMENT

WORDS = st.sampled_from(["red", "Shoe", "blue", "鞋", "zapatilla", "8gb", "ÉTÉ", "été"])
TEXTS = st.lists(st.lists(WORDS, max_size=12).map(" ".join), min_size=1, max_size=25)
CATALOG = ["red running shoe", "blue shoe for running, blue laces", "garden hose", "", "Red RED red"]


def naive_score(query: str, documents: list[str], index: int, k1: float, b: float) -> float:
    split = [words_of(text) for text in documents]
    mean_length = sum(map(len, split)) / len(split)
    total = 0.0
    for word in words_of(query):
        having = sum(word in words for words in split)
        frequency = collections.Counter(split[index])[word]
        if frequency:
            inverse = math.log(1 + (len(split) - having + 0.5) / (having + 0.5))
            length = len(split[index]) / mean_length
            total += inverse * frequency / (frequency + k1 * (1 - b + b * length))
    return total


@given(TEXTS, TEXTS, st.floats(0.0, 3.0), st.floats(0.0, 1.0))
def test_scores_are_those_of_the_formula_of_lucene(
    documents: list[str], queries: list[str], k1: float, b: float
) -> None:
    assume(any(documents))
    candidates = [list(range(len(documents)))[::-1]] * len(queries)
    found = BM25(documents, k1=k1, b=b).scores(queries, candidates)
    wanted = [[naive_score(query, documents, i, k1, b) for i in candidates[0]] for query in queries]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@given(TEXTS, TEXTS, st.integers(1, 30))
def test_the_best_are_those_of_a_stable_sort_of_all_that_share_a_word(
    documents: list[str], queries: list[str], k: int
) -> None:
    assume(any(documents))
    index = BM25(documents)
    found = index.search(queries, k)
    every = index.scores(queries, [range(len(documents))] * len(queries))
    for row, scores in enumerate(every):
        order = [i for i in np.argsort(-scores, kind="stable") if scores[i] > 0][:k]
        missing = k - len(order)
        assert found.indices[row].tolist() == order + [NO_DOCUMENT] * missing
        assert found.scores[row].tolist() == scores[order].tolist() + [-np.inf] * missing


def test_the_usual_settings_are_those_of_lucene() -> None:
    (scores,) = BM25(CATALOG).scores(["red shoe"], [[0, 4]])
    np.testing.assert_allclose(scores, [naive_score("red shoe", CATALOG, i, 1.2, 0.75) for i in (0, 4)], rtol=1e-6)


def test_a_query_without_known_words_finds_nothing() -> None:
    index = BM25(CATALOG)
    found = index.search(["", "unheard of", "!?"], 2)
    assert (found.indices == NO_DOCUMENT).all()
    np.testing.assert_array_equal(index.scores(["unheard of"], [[0, 1]])[0], [0.0, 0.0])
    assert len(index) == 5


def test_words_are_compared_in_one_form_in_any_script() -> None:
    assert words_of("Straße STRASSE") == ["strasse"] * 2
    assert words_of("ＵＳＢ－Ｃ, usb‑c") == ["usb", "c"] * 2
    assert words_of("ﬁne ½") == words_of("fine 1⁄2")
    # Indian vowel signs do not divide a word; characters of scripts without spaces do.
    assert words_of("हिन्दी किताब") == ["हिन्दी", "किताब"]
    assert words_of("運動靴 27cm") == ["運", "動", "靴", "27cm"]


def test_indexing_leaves_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        BM25(CATALOG).search(["", "red"], 1)
    assert not caplog.records


@pytest.mark.parametrize("first", ["", "import jax; "])
def test_indexing_does_not_start_jax(first: str) -> None:
    code = f"import sys; {first}from m5jax.retrieval.bm25 import BM25; BM25(['red shoe'])"
    started = "import jax; from jax._src import xla_bridge; assert not xla_bridge.backends_are_initialized()"
    done = subprocess.run([sys.executable, "-c", f"{code}; {started}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_wrong_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    index = BM25(CATALOG)
    with pytest.raises(UserError, match="k1 = -1"):
        BM25(CATALOG, k1=-1)
    with pytest.raises(UserError, match="b = 1.5; allowed: 0 to 1"):
        BM25(CATALOG, b=1.5)
    with pytest.raises(UserError, match="none of 2 texts has a word"):
        BM25(["", "!"])
    with pytest.raises(UserError, match="the 0 best"):
        index.search(["red"], 0)
    with pytest.raises(UserError, match="2 queries and 1 lists"):
        index.scores(["red", "blue"], [[0]])
    with pytest.raises(UserError, match="query 0 has texts 0 to 5; allowed: 0 to 4"):
        index.scores(["red"], [[0, 5]])
    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(UserError, match="pip install bm25s"):
        BM25(CATALOG)

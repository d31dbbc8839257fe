"""Rankings per query, against pytrec_eval and by hand."""

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from m5jax.errors import UserError
from m5jax.evaluation.estimates import mean_of
from m5jax.evaluation.metrics.search import GAINS, Gain, Judgements, QueryMetrics, Run, query_metrics

CUTOFFS = (1, 2, 3, 5, 100)
MEASURES = {"map": "map", "mrr": "recip_rank"}
MEASURES |= {f"recall@{cutoff}": f"recall_{cutoff}" for cutoff in CUTOFFS}
MEASURES |= {f"precision@{cutoff}": f"P_{cutoff}" for cutoff in CUTOFFS}
MEASURES |= {f"ndcg@{cutoff}": f"ndcg_cut_{cutoff}" for cutoff in CUTOFFS}

# As strings "d10" is below "d9", and trec_eval compares ids beyond ASCII byte by byte.
documents = st.sampled_from(["d1", "d9", "d10", "D1", "ß", "éa", "日本", "😀", "\uffee"])
queries = st.sampled_from(["q1", "q2", "q10", "¿"])
few_scores = st.sampled_from([-1.5, -0.0, 0.0, 0.25, 2.0])
runs = st.dictionaries(queries, st.dictionaries(documents, few_scores, min_size=1), min_size=1)
qrels = st.dictionaries(queries, st.dictionaries(documents, st.integers(0, 3), min_size=1), min_size=1)

Scores = dict[str, dict[str, float]]
Qrels = dict[str, dict[str, int]]


def as_run(scores: Scores) -> Run:
    rows = [(query, document, score) for query, found in scores.items() for document, score in found.items()]
    ids, found_documents, values = zip(*rows, strict=True)
    return Run(ids, found_documents, np.array(values))


def reference(scores: Scores, grades: Qrels, relevant_from: int = 1) -> dict[str, dict[str, float]]:
    """The values of the queries with a relevant document, 0 of those that the run lacks."""
    names = {f"{measure}.{','.join(map(str, CUTOFFS))}" for measure in ("P", "recall", "ndcg_cut")}
    found = pytrec_eval.RelevanceEvaluator(grades, names | {"map", "recip_rank"}, relevant_from).evaluate(scores)
    return {
        query: {name: found.get(query, {}).get(own, 0.0) for name, own in MEASURES.items()}
        for query, judged in grades.items()
        if max(judged.values()) >= relevant_from
    }


def check(found: QueryMetrics, expected: dict[str, dict[str, float]]) -> None:
    assert list(found.queries) == sorted(expected)
    assert found.values.keys() == MEASURES.keys()
    for name, values in found.values.items():
        assert values.dtype == np.float64
        by_query = [expected[query][name] for query in found.queries]
        np.testing.assert_allclose(values, by_query, rtol=0, atol=1e-12, err_msg=name)


@given(runs, qrels, st.sampled_from([1, 2]))
def test_metrics_with_ties_equal_those_of_trec_eval(scores: Scores, grades: Qrels, relevant_from: int) -> None:
    expected = reference(scores, grades, relevant_from)
    judgements = Judgements.from_mapping(grades)
    if not expected:
        with pytest.raises(UserError, match=f"none of .* has a document of grade {relevant_from} or more"):
            query_metrics(as_run(scores), judgements, CUTOFFS, relevant_from)
        return
    found = query_metrics(as_run(scores), judgements, CUTOFFS, relevant_from)
    check(found, expected)
    assert found.left_out == len(scores.keys() | grades.keys()) - len(expected)


def test_long_lists_equal_those_of_trec_eval() -> None:
    generator = np.random.default_rng(0)
    ranked = {f"q{query}": [f"d{d}" for d in generator.permutation(300)[:100]] for query in range(40)}
    grades = {query: {f"d{d}": int(generator.integers(0, 4)) for d in range(0, 300, 7)} for query in ranked}
    scores = {query: {name: -float(rank) for rank, name in enumerate(found)} for query, found in ranked.items()}
    found = query_metrics(Run.from_lists(ranked), Judgements.from_mapping(grades), CUTOFFS)
    check(found, reference(scores, grades))


def naive_ndcg(scores: list[float], ids: list[str], grades: list[float], cutoff: int, gain: Gain) -> float:
    def discounted(order: list[float]) -> float:
        gains = [grade if gain == "linear" else 2**grade - 1 for grade in order]
        return sum(value / np.log2(rank + 2) for rank, value in enumerate(gains[:cutoff]))

    rows = sorted(zip(scores, ids, grades, strict=True), key=lambda row: row[:2], reverse=True)
    return discounted([grade for *_, grade in rows]) / discounted(sorted(grades, reverse=True))


@pytest.mark.parametrize("gain", GAINS)
@given(st.lists(st.tuples(few_scores, st.sampled_from([0.0, 1 / 3, 1.0, 5 / 3, 2.0])), min_size=1, max_size=12))
def test_judged_lists_are_reranked_with_grades_that_are_not_whole(gain: Gain, rows: list[tuple[float, float]]) -> None:
    scores, grades = [score for score, _ in rows], [grade for _, grade in rows]
    ids = [f"d{place}" for place in range(len(rows))]
    if max(grades) < 1:
        return
    query = ["q"] * len(rows)
    found = query_metrics(Run(query, ids, scores), Judgements(query, ids, grades), (1, 3, 10), gain=gain)
    for cutoff in (1, 3, 10):
        expected = naive_ndcg(scores, ids, grades, cutoff, gain)
        assert found.values[f"ndcg@{cutoff}"] == pytest.approx([expected], rel=0, abs=1e-12)
    order = np.lexsort((ids, scores))[::-1]
    hits = np.array(grades)[order] >= 1
    precisions = [hits[: rank + 1].mean() for rank in np.flatnonzero(hits)]
    assert found.values["map"] == pytest.approx([np.mean(precisions)], rel=0, abs=1e-12)


def test_the_order_of_rows_does_not_matter() -> None:
    generator = np.random.default_rng(1)
    ids = np.array([f"q{query}" for query in generator.integers(0, 9, 200)])
    found_documents = np.array([f"d{row}" for row in range(200)])
    scores, grades = generator.integers(0, 5, 200) / 4, generator.integers(0, 3, 200)
    first = query_metrics(Run(ids, found_documents, scores), Judgements(ids, found_documents, grades))
    one, other = generator.permutation(200), generator.permutation(200)
    second = query_metrics(
        Run(ids[one].tolist(), found_documents[one].tolist(), scores[one]),
        Judgements(ids[other], found_documents[other], grades[other]),
    )
    assert first.queries == second.queries
    for name, values in first.values.items():
        np.testing.assert_allclose(values, second.values[name], rtol=0, atol=1e-12)


def test_queries_without_a_relevant_document_are_left_out_and_missing_ones_are_zero() -> None:
    judgements = Judgements.from_mapping({"a": {"x": 1}, "b": {"x": 0}, "missing": {"x": 1}, "c": {"y": 2}})
    run = Run.from_lists({"a": ["x", "y"], "b": ["x"], "c": ["x", "y"], "unjudged": ["x"]})
    found = query_metrics(run, judgements, cutoffs=(1,))
    assert (found.queries, found.left_out) == (("a", "c", "missing"), 2)
    assert found.values["mrr"].tolist() == [1, 0.5, 0]
    assert mean_of(found.values)["mrr"] == pytest.approx(0.5)
    # Asked 1, 8 and 1 times.
    assert mean_of(found.values, [1, 8, 1])["mrr"] == pytest.approx(0.5)
    assert mean_of(found.values, [0, 1, 3])["mrr"] == pytest.approx(0.125)


def test_scores_that_differ_past_float32_are_no_tie() -> None:
    run = Run(["q", "q"], ["a", "b"], [1 + 1e-12, 1.0])
    assert query_metrics(run, Judgements(["q"], ["a"], [1])).values["mrr"].tolist() == [1]


RUN, JUDGEMENTS = Run(["q"], ["a"], [1.0]), Judgements(["q"], ["a"], [1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cutoffs": (0, 5)}, r"cutoffs are \[0, 5\]; allowed: 1 and above"),
        ({"cutoffs": ()}, r"cutoffs are \[\]; allowed"),
        ({"relevant_from": 0.0}, "relevant from grade 0.0; allowed: above 0"),
        ({"gain": "linea"}, "unknown gain 'linea'; did you mean linear?"),
        ({"relevant_from": 2.5}, "none of 1 queries has a document of grade 2.5 or more"),
        ({"run": Run(["q", "q"], ["a", "a"], [1, 2])}, "the run holds document 'a' of query 'q' twice"),
        ({"judgements": Judgements(["q", "q"], ["a", "a"], [1, 2])}, "judgements hold document 'a' of query 'q' twice"),
        ({"run": Run([1], ["a"], [1])}, "one of type int; allowed: strings"),
    ],
)
def test_what_cannot_be_measured_is_refused(change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        query_metrics(**{"run": RUN, "judgements": JUDGEMENTS} | change)
    assert "\n" not in str(raised.value)


def test_rows_must_be_whole() -> None:
    with pytest.raises(UserError, match="queries 2, documents 1, scores 1"):
        Run(["q", "q"], ["a"], [1.0])
    with pytest.raises(UserError, match="scores of row 1 is nan"):
        Run(["q", "q"], ["a", "b"], [1.0, np.nan])
    with pytest.raises(UserError, match=r"grades are of shape \[0\]"):
        Judgements([], [], [])
    with pytest.raises(UserError, match=r"scores are of shape \[0\]"):
        Run.from_lists({"q": []})

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from m5jax.errors import UserError
from m5jax.evaluation.metrics.search import Judgements, Run, query_metrics
from m5jax.evaluation.report_data import Group
from m5jax.evaluation.reports import write_evaluation
from m5jax.finetuning.search_assessment import SearchAssessment, SystemResult
from m5jax.finetuning.search_data import SearchData, gather, plain_text
from m5jax.finetuning.search_systems import FETCHED, Embedded, Found, found_among_all, found_among_judged
from m5jax.finetuning.tasks import PairLabels
from tests.finetuning import search_examples as tiny

LABELS = PairLabels(1.0, 4.0, 2.5)
NOTHING = Found(*(np.zeros(0, np.int64),) * 2, np.zeros(0))


def search_data() -> SearchData:
    examples = tiny.judged_pairs(5, queries=14, grades=(1.0, 2.0, 2.5, 4.0))
    return gather(examples, LABELS, [f"<title> more {number}" for number in range(120)])


def random_embeddings(data: SearchData, seed: int) -> Embedded:
    generator = np.random.default_rng(seed)
    queries, documents = (generator.normal(size=(len(side), 5)) for side in (data.queries, data.documents))
    return Embedded(queries.astype(np.float32), documents.astype(np.float32), "cosine")


def assess(data: SearchData, candidates: str) -> SearchAssessment:
    results = []
    for seed, name in enumerate(("the run", "another")):
        system = random_embeddings(data, seed)
        every = found_among_all(data, system.search(FETCHED))
        found = every if candidates == "all" else found_among_judged(data, system.scores(data.judged))
        results.append(SystemResult(name, found, {"recall_of_exact@100": 0.25} if seed else {}))
    return SearchAssessment(data, candidates, [*results, SystemResult("mute", NOTHING)], samples=30)


def naive_values(data: SearchData, seed: int, candidates: str) -> list[dict[str, float]]:
    """Returns the metrics of each query, of embeddings ranked one by one."""
    embedded = random_embeddings(data, seed)
    queries, documents = (
        side / np.linalg.norm(side, axis=1, keepdims=True) for side in (embedded.queries, embedded.documents)
    )
    found = []
    for query in range(len(data.queries)):
        grades = {
            int(document): grade for (of, document), grade in zip(data.judged, data.grades, strict=True) if of == query
        }
        ranked = [int(document) for document in np.argsort(-documents @ queries[query])]
        if candidates == "judged":
            ranked = [document for document in ranked if document in grades]
        found.append(tiny.naive_metrics(ranked[:100], grades, 1.5))
    return found


def values_of(group: Group) -> dict[str, float]:
    return {name: estimate.value for name, estimate in group.metrics.items()}


@pytest.mark.parametrize("candidates", ["all", "judged"])
def test_each_system_has_the_metrics_of_queries_one_by_one_plain_and_by_weight(candidates: str) -> None:
    data = search_data()
    report = assess(data, candidates).report("title", {})
    assert [group.name for group in report.groups] == ["the run", "another", "mute"]
    for seed, group in enumerate(report.groups[:2]):
        naive = naive_values(data, seed, candidates)
        wanted = {name: np.mean([own[name] for own in naive]) for name in naive[0]}
        for name in naive[0]:
            wanted[f"weighted_{name}"] = np.average([own[name] for own in naive], weights=data.weights)
        values = values_of(group)
        assert values.pop("recall_of_exact@100", None) == (0.25 if seed else None)
        assert values == pytest.approx(wanted)
        for estimate in group.metrics.values():
            assert estimate.count == len(data.queries)
        for curve, name in zip(report.curves, ("recall", "precision"), strict=True):
            line = curve.lines[seed]
            for cutoff in (1, 5, 10, 100):
                if cutoff <= len(line.y):
                    assert line.y[cutoff - 1] == pytest.approx(wanted[f"{name}@{cutoff}"])
            assert line.x == tuple(range(1, (100 if candidates == "all" else 6) + 1))
    assert set(values_of(report.groups[2]).values()) == {0.0}
    assert report.notes == data.notes


def test_queries_asked_alike_have_no_weighted_metrics() -> None:
    data = search_data()
    alike = dataclasses.replace(data, weights=np.full(len(data.queries), 3.0))
    names = assess(alike, "all").report("title", {}).groups[0].metrics
    assert not [name for name in names if name.startswith("weighted_")]


@pytest.mark.parametrize("candidates", ["all", "judged"])
def test_predictions_alone_give_the_metrics_of_the_first_system(candidates: str, tmp_path: Path) -> None:
    data = search_data()
    assessment = assess(data, candidates)
    predictions = assessment.predictions()
    rows = predictions.table.to_pylist()
    found = [row for row in rows if row["rank"] is not None]
    run = Run([row["query"] for row in found], [row["document"] for row in found], [-row["rank"] for row in found])
    grades = [row["grade"] for row in rows]
    judgements = Judgements([row["query"] for row in rows], [row["document"] for row in rows], grades)
    metrics = query_metrics(run, judgements, **predictions.settings)
    report = assessment.report("title", {})
    for name, values in metrics.values.items():
        assert np.mean(values) == pytest.approx(report.groups[0].metrics[name].value)
    assert predictions.fingerprint == data.fingerprint(candidates)
    assert {row["group"] for row in rows} == {"en", "de"}
    weights = dict(zip(data.query_ids, data.weights, strict=True))
    assert all(row["weight"] == weights[row["query"]] for row in rows)
    missed = [row for row in rows if row["rank"] is None]
    assert len(missed) == missed_by_first(data, assessment)
    assert all(row["score"] is None and row["grade"] > 0 for row in missed)
    assert bool(missed) == (candidates == "all")
    write_evaluation(tmp_path / "evaluation", report, predictions)


def missed_by_first(data: SearchData, assessment: SearchAssessment) -> int:
    first = assessment.results[0].found
    found = set(zip(first.queries.tolist(), first.documents.tolist(), strict=True))
    return sum(
        (query, document) not in found
        for (query, document), grade in zip(data.judged.tolist(), data.grades, strict=True)
        if grade > 0
    )


def test_a_system_that_finds_nothing_has_no_predictions() -> None:
    data = search_data()
    with pytest.raises(UserError, match="no document of search was found"):
        SearchAssessment(data, "all", [SystemResult("mute", NOTHING)]).predictions()


def test_the_queries_that_were_answered_worst_are_shown() -> None:
    data = search_data()
    report = assess(data, "all").report("title", {})
    values = [own["ndcg@10"] for own in naive_values(data, 0, "all")]
    worst = sorted(range(len(values)), key=lambda query: (values[query], -data.weights[query]))[:10]
    assert [example.heading for example in report.examples] == [plain_text(data.queries[query]) for query in worst]
    assert [float(example.fields["ndcg@10"]) for example in report.examples] == pytest.approx(
        [values[query] for query in worst], abs=6e-4
    )
    found = assess(data, "all").results[0].found
    for query, example in zip(worst, report.examples, strict=True):
        own = data.judged[:, 0] == query
        best = data.documents[data.judged[own][np.argmax(data.grades[own])][1]]
        assert example.fields["most relevant"] == plain_text(best)
        ranked = [data.documents[document] for document in found.documents[found.queries == query]]
        assert example.fields["its rank"] == (str(ranked.index(best) + 1) if best in ranked else "not found")
        assert example.fields["ranked first"] == plain_text(ranked[0])
        judged = [data.documents[document] for document in data.judged[own, 1]]
        grades = dict(zip(judged, data.grades[own], strict=True))
        wanted = f"{grades[ranked[0]]:g}" if ranked[0] in grades else "not judged"
        assert example.fields["its grade"] == wanted


def test_queries_answered_without_a_mistake_are_not_shown() -> None:
    data = gather([tiny.Example("", ("<title> a", "<title> b"), 1.0)], PairLabels())
    perfect = Found(np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones(1))
    report = SearchAssessment(data, "judged", [SystemResult("the run", perfect)], samples=2).report("title", {})
    assert not report.examples
    assert values_of(report.groups[0])["map"] == 1

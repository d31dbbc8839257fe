"""Fine-tuned runs evaluated as searches, from files to reports."""

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from m5jax.cli.main import main
from m5jax.configuration import evaluate_search
from m5jax.configuration.evaluate_fine_tuned import answer_examples
from m5jax.configuration.fine_tuned_result import read_result
from m5jax.configuration.fine_tuned_run import load_fine_tuned
from m5jax.evaluation.compare import compare
from m5jax.evaluation.predictions import read_predictions
from m5jax.evaluation.report_data import read_report_data
from m5jax.finetuning.examples import Example
from m5jax.finetuning.ngrams import Ngrams
from m5jax.finetuning.search_data import text_id
from m5jax.retrieval.bm25 import BM25
from m5jax.training.run_log import read_metrics
from tests.configuration.pretrained_run import encoder, write_run
from tests.configuration.search_runs import Row, finetune, ngrams, texts_of, write_files
from tests.finetuning.search_examples import naive_metrics


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_files(tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, files: dict[str, str]) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return {name: ngrams(folder / name, files, width) for name, width in (("wide", 16), ("narrow", 8))}


def search(run_dir: Path, files: dict[str, str], *more: str, data: str = "test") -> int:
    flags = ["--kind=search", "--samples=20", "--batch_size=8", *more]
    return main(["evaluate", f"--run={run_dir}", f"--data={files[data]}", *flags])


def naive_embedding(run_dir: Path, text: str, size: int) -> np.ndarray:
    tuned = loaded(run_dir)
    assert isinstance(tuned.tokenizer, Ngrams)
    ids = tuned.tokenizer.encode([text])[0][:32]
    embedding = np.array(tuned.parameters["encoder"]["embedding"], np.float64)[ids].mean(axis=0)
    embedding = (embedding / np.linalg.norm(embedding))[: size or None]
    return embedding / np.linalg.norm(embedding)


loaded = functools.cache(load_fine_tuned)


def naive_search(rows: list[Row], score: Any, documents: list[str] | None) -> dict[str, float]:
    """Returns the metrics over queries, alike and by weight; of each query's rows where there are no documents."""
    grades: dict[str, dict[str, float]] = {}
    weights: dict[str, float] = {}
    for row in rows:
        grades.setdefault(row["left"], {})[row["right"]] = row["label"]
        weights[row["left"]] = max(weights.get(row["left"], 0), row["weight"])
    values, asked = [], []
    for query, own in grades.items():
        if any(own.values()):
            among = sorted(own if documents is None else documents, key=text_id)
            ranked = sorted(among, key=lambda document: -score(query, document))
            values.append(naive_metrics(ranked[:100], own, 1.0))
            asked.append(weights[query])
    means = {name: float(np.mean([own[name] for own in values])) for name in values[0]}
    for name in values[0]:
        means[f"weighted_{name}"] = float(np.average([own[name] for own in values], weights=asked))
    return means


def report_values(folder: Path) -> dict[str, dict[str, float]]:
    groups = read_report_data(folder).groups
    return {group.name: {name: metric.value for name, metric in group.metrics.items()} for group in groups}


def test_a_run_and_other_systems_search_all_documents(
    runs: dict[str, Path], files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    beside = ["--baseline=bm25", f"--baseline={runs['narrow']}", "--index=hnsw", "--index=ivf", "--dimensions=5"]
    assert search(runs["wide"], files, f"--documents={files['products']}", *beside) == 0
    assert "recall_of_exact@100" in capsys.readouterr().out
    folder = runs["wide"] / "evaluations" / "test-search"
    found = report_values(folder)
    assert list(found) == ["wide", "wide (hnsw)", "wide (ivf)", "wide (5)", "bm25", "narrow"]
    rows = texts_of(files, "test")
    documents = sorted({row["right"] for row in (*rows, *texts_of(files, "products"))}, key=text_id)
    bm25 = BM25([re.sub("<[a-z]+>", " ", document) for document in documents])
    lexical: dict[tuple[str, str], float] = {}
    for query in {row["left"] for row in rows}:
        scores = bm25.scores([query.replace("<title>", "")], [range(len(documents))])[0]
        lexical |= {(query, document): score for document, score in zip(documents, scores, strict=True)}
    for name, run_dir, size in (
        ("wide", runs["wide"], 0),
        ("wide (5)", runs["wide"], 5),
        ("narrow", runs["narrow"], 0),
    ):
        embedded = {text: naive_embedding(run_dir, text, size) for text in (*documents, *(row["left"] for row in rows))}
        wanted = naive_search(rows, lambda one, other, of=embedded: of[one] @ of[other], documents)
        assert found[name] == pytest.approx(wanted)
    naive = naive_search(rows, lambda query, document: lexical[query, document], documents)
    # What shares no word is not found, and is last of all here.
    assert found["bm25"]["ndcg@10"] == pytest.approx(naive["ndcg@10"])
    for kind in ("hnsw", "ivf"):
        assert found[f"wide ({kind})"]["recall_of_exact@100"] > 0.9
    facts = read_report_data(folder).facts
    assert facts["documents"] == str(len(documents))
    assert facts["candidates"].startswith("all documents")


def test_an_evaluation_of_the_baseline_itself_says_the_same_and_is_compared(
    runs: dict[str, Path], files: dict[str, str]
) -> None:
    assert search(runs["wide"], files, f"--baseline={runs['narrow']}", "--name=one", "--candidates=judged") == 0
    assert search(runs["narrow"], files, "--name=one", "--candidates=judged") == 0
    first, second = (report_values(runs[name] / "evaluations" / "one") for name in ("wide", "narrow"))
    assert first["narrow"] == second["narrow"]
    rows = texts_of(files, "test")
    embedded = {row[side]: naive_embedding(runs["wide"], row[side], 0) for row in rows for side in ("left", "right")}
    wanted = naive_search(rows, lambda one, other: embedded[one] @ embedded[other], None)
    assert first["wide"] == pytest.approx(wanted)
    compared = {row.metric: row for row in compare(runs["wide"], runs["narrow"], "one", samples=20).metrics}
    for name in ("map", "ndcg@10", "recall@1"):
        assert compared[name].first == pytest.approx(first["wide"][name])
        assert compared[f"weighted_{name}"].first == pytest.approx(first["wide"][f"weighted_{name}"])
        assert compared[f"weighted_{name}"].second == pytest.approx(second["narrow"][f"weighted_{name}"])


def test_a_model_that_reads_both_sides_together_ranks_judged_documents(
    runs: dict[str, Path], files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretrained = write_run(tmp_path / "pretrained", encoder())
    assert finetune(tmp_path / "joint", files, "joint", f"--from={pretrained}") == 0
    assert search(tmp_path / "joint", files, f"--baseline={runs['narrow']}") == 0
    table = read_predictions(tmp_path / "joint" / "evaluations" / "test-search").table.to_pylist()
    rows = texts_of(files, "test")
    texts = {text_id(text): text for row in rows for text in (row["left"], row["right"])}
    pairs = [Example("", (texts[row["query"]], texts[row["document"]]), 0.0) for row in table]
    answers = answer_examples(load_fine_tuned(tmp_path / "joint"), pairs, 8)
    np.testing.assert_allclose([row["score"] for row in table], answers.scores, rtol=1e-4, atol=1e-5)
    scores = {pair.texts: score for pair, score in zip(pairs, answers.scores, strict=True)}
    found = report_values(tmp_path / "joint" / "evaluations" / "test-search")
    assert found["joint"] == pytest.approx(naive_search(rows, lambda *pair: scores[pair], None))
    assert list(found) == ["joint", "narrow"]
    for flags, message in (
        (["--candidates=all"], "the run is of JointTask without embeddings to search"),
        (["--dimensions=2"], "embeddings of 0 dimensions cannot be cut to 2"),
    ):
        assert search(tmp_path / "joint", files, "--name=other", *flags) == 2
        assert message in capsys.readouterr().err
    assert search(runs["wide"], files, "--name=other", f"--baseline={tmp_path / 'joint'}") == 2
    assert "joint is of JointTask without embeddings to search" in capsys.readouterr().err


class Encoder:
    similarity_fn_name = "cosine"

    def encode_query(self, inputs: list[str], **settings: Any) -> np.ndarray:
        assert not any("<" in text for text in inputs)
        return np.array([[1.0 + text.count(letter) for letter in "aeiou"] for text in inputs])

    encode_document = encode_query


def test_a_folder_of_sentence_transformers_is_a_baseline(
    runs: dict[str, Path], files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "modules.json").write_text("[]", encoding="utf-8")
    monkeypatch.setattr(evaluate_search, "load_sentence_transformer", lambda folder: Encoder())
    assert search(runs["narrow"], files, "--name=foreign", f"--baseline={tmp_path / 'foreign'}") == 0
    rows = texts_of(files, "test")

    def score(query: str, document: str) -> float:
        one, other = (Encoder().encode_query([re.sub("<[a-z]+>", "", text)])[0] for text in (query, document))
        return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))

    wanted = naive_search(rows, score, [row["right"] for row in rows])
    found = report_values(runs["narrow"] / "evaluations" / "foreign")["foreign"]
    assert found["recall@100"] == wanted["recall@100"] == 1
    assert found["mrr"] == pytest.approx(wanted["mrr"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--baseline=bm26"], "--baseline=bm26 is no baseline; allowed: bm25, the directory of a fine-tuned run, or a"),
        (["--baseline=bm25", "--baseline=bm25"], "--baseline=bm25 is there twice"),
        (["--dimensions=3", "--dimensions=3"], "dimensions are 3, 3; allowed: each once"),
        (["--dimensions=9"], "embeddings of 8 dimensions cannot be cut to 9"),
        (["--candidates=judged", "--index=ivf"], "--documents and --index are of --candidates=all"),
        (["--data=nothing.jsonl"], "no such file: nothing.jsonl"),
        (["--documents=nothing.jsonl"], "no such file: nothing.jsonl"),
    ],
)
def test_what_cannot_be_searched_is_said_in_a_line(
    flags: list[str], message: str, runs: dict[str, Path], files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert search(runs["narrow"], files, "--name=refused", *flags) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("m5jax: error:") == 1
    assert not (runs["narrow"] / "evaluations" / "refused").exists()


def test_rows_that_the_run_or_a_baseline_was_trained_on_are_refused(
    runs: dict[str, Path], files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search(runs["narrow"], files, data="train") == 2
    assert "50 of 50" in capsys.readouterr().err
    other = ngrams(tmp_path / "other", {**files, "train": files["test"]}, 4)
    assert search(runs["narrow"], files, "--name=unfair", f"--baseline={other}") == 2
    assert "50 of 50" in capsys.readouterr().err
    assert search(runs["narrow"], files, "--name=unfair", f"--baseline={other}", "--overlap=allow") == 0


def test_flags_of_a_search_need_its_kind(
    runs: dict[str, Path], files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", f"--run={runs['wide']}", f"--data={files['test']}", "--baseline=bm25"]) == 2
    assert "are of --kind=search; add it" in capsys.readouterr().err


def test_pairs_that_all_fit_are_validated_by_search(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = {**files, "valid": files["all_fit"]}
    contrastive = ["--gin.PairObjective.losses=(@InBatchContrastive(),)", "--gin.HashedNgrams.width=8"]
    run_dir = tmp_path / "tuned"
    assert finetune(run_dir, own, "hashed_ngrams", *contrastive) == 0
    result = read_result(run_dir)
    assert result is not None
    assert result.metrics.keys() == {"mrr", "recall@10"}
    assert result.threshold is None
    logged = {
        row["step"]: row["evaluation/valid/mrr"] for row in read_metrics(run_dir) if "evaluation/valid/mrr" in row
    }
    assert result.metrics["mrr"] == logged[result.step] == max(logged[step] for step in (1, 2))
    rows = [{**row, "weight": 1} for row in texts_of(files, "all_fit")]
    embedded = {row[side]: naive_embedding(run_dir, row[side], 0) for row in rows for side in ("left", "right")}
    documents = list({row["right"] for row in rows})
    wanted = naive_search(rows, lambda one, other: embedded[one] @ embedded[other], documents)
    assert result.metrics == pytest.approx({name: wanted[name] for name in ("mrr", "recall@10")})
    capsys.readouterr()
    refused = [*contrastive, "--gin.TwoTowerTask.similarity='mlp'"]
    assert finetune(tmp_path / "refused", own, "hashed_ngrams", *refused) == 2
    assert "validation pairs fit, and the similarity mlp cannot search for them" in capsys.readouterr().err
    assert not (tmp_path / "refused").exists()

"""Home Depot: two towers, hashed n-grams and BM25."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.real_results.bench import Bench, Jobs, Row, settings

SPLITS = ("train", "valid", "test")


def search_training(bench: Bench) -> Jobs:
    files = {split: bench.rows("search", f"home_depot.{split}", f"home_depot_{split}", _lower) for split in SPLITS}
    columns = ["--column", "left=query", "--column", "right=product", "--column", "label=relevance"]
    grades = ["--gin.PairLabels.lowest=1.0", "--gin.PairLabels.highest=3.0", "--gin.PairLabels.fits_from=2.33"]
    flags = [*columns, *grades, "--gin.FineTuning.select='average_precision'"]
    towers = settings(length=64, batch_size=128, epochs=1.0, log_every=50)
    towers += ["--gin.Cosine.peak=1e-3", "--gin.TwoTowerTask.lexical=384", "--gin.TwoTowerTask.temperature=0.05"]
    towers += ["--gin.PairObjective.losses=(@InBatchContrastive(),)"]
    ngrams = settings(length=128, batch_size=256, epochs=3.0, log_every=50)
    return {
        "pretrained": (_searching, "pretrained", bench.pretrained, "two_tower", files, [*flags, *towers]),
        "scratch": (_searching, "scratch", bench.pretrained, "two_tower", files, [*flags, *towers, "--from_scratch"]),
        "ngrams": (_searching, "ngrams", None, "hashed_ngrams", files, [*flags, *ngrams]),
    }


def _lower(row: Row) -> Row:
    # Queries are in lower case, titles are not: a vocabulary that tells cases apart finds little of one in the other.
    product = row["product"] | {"title": row["product"]["title"].lower()}
    return row | {"query": row["query"].lower(), "product": product}


def _searching(
    bench: Bench, name: str, begin: Path | None, recipe: str, files: Mapping[str, str], flags: Sequence[str]
) -> Row:
    bench.finetune(f"search/{name}", begin, recipe, files["train"], files["valid"], *flags)
    return {"valid": bench.result(f"search/{name}")}


def search(bench: Bench) -> Jobs:
    return {
        candidates: (_searched, str(bench.work / "home_depot_test.jsonl"), candidates)
        for candidates in ("judged", "all")
    }


def _searched(bench: Bench, data: str, candidates: str) -> Row:
    baselines = ["bm25", str(bench.work / "search/ngrams"), str(bench.work / "search/scratch")]
    flags = ["--kind=search", f"--candidates={candidates}", "--overlap=allow"]
    flags += [f"--baseline={baseline}" for baseline in baselines]
    return bench.evaluate("search/pretrained", data, f"search_{candidates}", *flags)

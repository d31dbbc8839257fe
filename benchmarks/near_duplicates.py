"""Recall and precision of near-duplicate removal: on planted pairs, and on real offers and texts.

    M5JAX_DATA=/path/to/data python benchmarks/near_duplicates.py

The truth is exact: the Jaccard similarity of all pairs of texts, from the product of their sparse shingle matrix with
itself. `recall` is the share of the pairs at or above the threshold of which at least one text was dropped, `precision`
the share of the dropped texts that have such a partner.
"""

import argparse
import json
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import zstandard
from scipy import sparse

from benchmarks.environment import environment
from m5jax.data.preparation.load_beam import load_beam
from m5jax.data.preparation.near_duplicates import NearDuplicates
from m5jax.data.preparation.normalize import normalize_text, split_words

BINS = (0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
SOURCES = {
    "offer titles": ("products/products.jsonl.zst", ("title",)),
    "offers with descriptions": ("products/products.jsonl.zst", ("title", "description")),
    "English text": ("text/en.train.jsonl.zst", ("text",)),
    "German text": ("text/de.train.jsonl.zst", ("text",)),
    "Arabic text": ("text/ar.train.jsonl.zst", ("text",)),
}


def planted_texts(pairs: int, seed: int) -> list[str]:
    """Returns texts of invented words, two for each pair: the second has some words of the first replaced."""
    generator = random.Random(seed)
    words = [f"w{index}" for index in range(20_000)]
    texts = []
    for _ in range(pairs):
        base = generator.choices(words, k=generator.randint(20, 400))
        changed = list(base)
        for _ in range(generator.randint(1, max(1, len(base) // 20))):
            changed[generator.randrange(len(base))] = generator.choice(words)
        texts += [" ".join(base), " ".join(changed)]
    return texts


def real_texts(path: Path, columns: Sequence[str], count: int, seed: int) -> list[str]:
    """Returns distinct normalised texts of a JSON-lines file, drawn at random."""
    with zstandard.open(path, "rt", encoding="utf-8") as lines:
        rows = (json.loads(line) for line in lines)
        texts = {normalize_text("\n".join(str(row.get(column) or "") for column in columns)) for row in rows}
    return random.Random(seed).sample(sorted(texts - {""}), min(count, len(texts) - 1))


def exact_similarities(texts: Sequence[str], size: int, least: float) -> dict[tuple[int, int], float]:
    """Returns the Jaccard similarity of each pair (i < j) of texts that have `least` or more."""
    columns: dict[tuple[str, ...], int] = {}
    rows = []
    for text in texts:
        words = split_words(text)
        shingles = {tuple(words[start : start + size]) for start in range(max(1, len(words) - size + 1))}
        rows.append([columns.setdefault(shingle, len(columns)) for shingle in shingles])
    lengths = np.array([len(row) for row in rows])
    pointers = np.concatenate([[0], np.cumsum(lengths)])
    matrix = sparse.csr_matrix(
        (np.ones(pointers[-1], np.int32), np.concatenate(rows), pointers), (len(texts), len(columns))
    )
    found = {}
    for start in range(0, len(texts), 1000):
        common = (matrix[start : start + 1000] @ matrix.T).tocoo()
        left, right = common.row + start, common.col
        similarity = common.data / (lengths[left] + lengths[right] - common.data)
        for index in np.flatnonzero((similarity >= least) & (left < right)):
            found[int(left[index]), int(right[index])] = float(similarity[index])
    return found


def dropped_texts(texts: Sequence[str], settings: NearDuplicates) -> set[int]:
    """Returns the positions of the texts that the pipeline's own step drops."""
    import apache_beam as beam

    from m5jax.data.preparation.transforms import DropNearDuplicates, exact_key
    from m5jax.data.records import TextRecord

    documents = [(1, TextRecord(text, "en").to_json(), "en", "train") for text in texts]
    with tempfile.TemporaryDirectory() as directory:
        with beam.Pipeline() as pipeline:
            keyed = pipeline | beam.Create(documents) | beam.Map(exact_key, "text")
            left, _ = keyed | DropNearDuplicates(settings, "text")
            _ = left | beam.Map(lambda item: item[1][1]) | beam.io.WriteToText(f"{directory}/kept")
        lines = [line for path in Path(directory).iterdir() for line in path.read_text(encoding="utf-8").splitlines()]
    remaining = {json.loads(line)["text"] for line in lines}
    return {position for position, text in enumerate(texts) if text not in remaining}


def measure(texts: Sequence[str], settings: NearDuplicates) -> dict[str, Any]:
    """Returns recall and precision of the step on distinct texts, and the share found by similarity."""
    similar = exact_similarities(texts, settings.shingle_words, BINS[0])
    dropped = dropped_texts(texts, settings)
    true_pairs = [pair for pair, similarity in similar.items() if similarity >= settings.threshold]
    found = [pair for pair in true_pairs if pair[0] in dropped or pair[1] in dropped]
    with_partner = {position for pair in true_pairs for position in pair}
    by_similarity = {}
    for low, high in zip(BINS[:-1], BINS[1:], strict=True):
        pairs = [pair for pair, similarity in similar.items() if low <= similarity < high]
        hit = sum(pair[0] in dropped or pair[1] in dropped for pair in pairs)
        by_similarity[f"{low:g}-{high:g}"] = {"pairs": len(pairs), "one_dropped": hit}
    return {
        "texts": len(texts),
        "pairs": len(true_pairs),
        "dropped": len(dropped),
        "recall": len(found) / len(true_pairs) if true_pairs else None,
        "precision": len(dropped & with_partner) / len(dropped) if dropped else None,
        "by_similarity": by_similarity,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--planted_pairs", type=int, default=3000, help="for each seed (%(default)s)")
    parser.add_argument("--texts", type=int, default=10_000, help="of each real source (%(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    load_beam()
    settings = NearDuplicates()
    results = []
    data = Path(os.environ["M5JAX_DATA"])
    for seed in arguments.seeds:
        sets = {"planted": planted_texts(arguments.planted_pairs, seed)}
        for name, (path, columns) in SOURCES.items():
            sets[name] = real_texts(data / path, columns, arguments.texts, seed)
        for name, texts in sets.items():
            result = {"source": name, "seed": seed, **measure(list(dict.fromkeys(texts)), settings)}
            results.append(result)
            print(*(f"{key} {result[key]}" for key in ("source", "seed", "texts", "pairs", "dropped")), end=" ")
            print(f"recall {result['recall']} precision {result['precision']}", flush=True)
    bands, rows = settings.bands
    written = {
        "environment": environment(),
        "settings": {
            "threshold": settings.threshold,
            "shingle_words": settings.shingle_words,
            "bands": bands,
            "rows": rows,
        },
        "candidate_probability": {f"{s:g}": settings.candidate_probability(s) for s in BINS},
        "results": results,
    }
    output = Path(__file__).with_name("results") / "near_duplicates.json"
    output.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    print(f"written to {output}")


if __name__ == "__main__":
    main()

"""Time, memory and recall of the exact search, which streams the documents, and of FAISS indices of them.

    python benchmarks/search_speed.py

The embeddings are random, of length 1, and vary in 32 directions (`--directions`) as those of a catalog vary in few:
where they vary in all 256 alike, the hundredth neighbour is hardly nearer than any other document, and an approximate
index has nothing to find. Each search runs in a process of its own, from a file of documents; the peak is that of the
process, with Python and the libraries (`nothing`: those alone). Seconds are of one run. Writes
benchmarks/results/search_speed.json, but not with --small.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.environment import environment
from m5jax.evaluation.tables import format_table
from m5jax.retrieval.approximate import FaissIndex, IndexSettings, load_faiss
from m5jax.retrieval.embeddings import unit_rows
from m5jax.retrieval.exact import search_exact
from m5jax.retrieval.ranking import Ranking, recall

RESULT = Path(__file__).resolve().parent / "results" / "search_speed.json"
SMALL = {"documents": 20_000, "queries": 500}
SEARCHES: dict[str, IndexSettings | None] = {
    "exact, streamed": None,
    "FAISS flat": IndexSettings("flat"),
    "FAISS IVF, 32 probes": IndexSettings("ivf", probes=32),
    "FAISS IVF, 256 probes": IndexSettings("ivf", probes=256),
    # As FAISS builds it by default; with the 200 of IndexSettings a graph of 1M takes several times as long.
    "FAISS HNSW": IndexSettings("hnsw", ef_construction=40),
}
BLOCK = 16_384


def write_embeddings(path: Path, count: int, width: int, directions: int, seed: int) -> None:
    """Writes random unit rows to a .npy file; the directions are the same for every seed."""
    mixing = np.random.default_rng(0).standard_normal((directions, width), dtype=np.float32)
    random = np.random.default_rng(seed)
    written = np.lib.format.open_memmap(path, "w+", np.float32, (count, width))
    for start in range(0, count, BLOCK):
        rows = random.standard_normal((min(BLOCK, count - start), directions), dtype=np.float32)
        written[start : start + len(rows)] = unit_rows(rows @ mixing)


def measure(name: str | None, folder: Path, top: int) -> dict[str, float]:
    """Builds and searches in this process, and leaves the ranking in `folder`; nothing where there is no name."""
    build_seconds = search_seconds = 0.0
    queries = np.load(folder / "queries.npy")
    load_faiss()
    if name is not None:
        settings = SEARCHES[name]
        started = time.perf_counter()
        index = None if settings is None else FaissIndex.build(folder / "documents.npy", settings)
        build_seconds = time.perf_counter() - started
        started = time.perf_counter()
        documents = folder / "documents.npy"
        found = search_exact(queries, documents, top) if index is None else index.search(queries, top)
        search_seconds = time.perf_counter() - started
        np.savez(folder / f"{name}.npz", indices=found.indices, scores=found.scores)
    return {"build_seconds": build_seconds, "search_seconds": search_seconds, "peak_mebibytes": peak_mebibytes()}


def peak_mebibytes() -> float:
    """Returns the most that this process had in memory; `getrusage` counts its parent in."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def measure_alone(name: str | None, folder: Path, top: int) -> dict[str, float]:
    """Returns `measure` of a process that is started for it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        return executor.submit(measure, name, folder, top).result()


def read_ranking(path: Path) -> Ranking:
    with np.load(path) as arrays:
        return Ranking(arrays["indices"], arrays["scores"])


def measure_all(arguments: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """Yields a row for each search, the exact one first."""
    for seed, (name, count) in enumerate({"documents": arguments.documents, "queries": arguments.queries}.items(), 1):
        write_embeddings(folder / f"{name}.npy", count, arguments.width, arguments.directions, seed)
    yield {"search": "nothing", **measure_alone(None, folder, arguments.top)}
    for name in SEARCHES:
        row: dict[str, Any] = {"search": name, **measure_alone(name, folder, arguments.top)}
        row["queries_per_second"] = arguments.queries / row["search_seconds"]
        row["recall"] = recall(read_ranking(folder / f"{name}.npz"), read_ranking(folder / "exact, streamed.npz"))
        print(f"{name}: {row['search_seconds']:.1f} s", file=sys.stderr, flush=True)
        yield row


def table(found: list[dict[str, Any]]) -> str:
    rows = [
        [row["search"], f"{row['build_seconds']:,.1f}", f"{row['search_seconds']:,.2f}"]
        + ([f"{row['queries_per_second']:,.0f}"] if "recall" in row else ["–"])
        + [f"{row['peak_mebibytes']:,.0f}"]
        + ([f"{row['recall']:.1%}"] if "recall" in row else ["–"])
        for row in found
    ]
    headers = ("search", "build, s", "search, s", "queries/s", "peak, MiB", "recall")
    return format_table(headers, rows, ["left"] + ["right"] * (len(headers) - 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1_000_000, help="(default: %(default)s)")
    parser.add_argument("--queries", type=int, default=10_000, help="(default: %(default)s)")
    parser.add_argument("--width", type=int, default=256, help="of an embedding (default: %(default)s)")
    parser.add_argument("--directions", type=int, default=32, help="in which they vary (default: %(default)s)")
    parser.add_argument("--top", type=int, default=100, help="documents of a query (default: %(default)s)")
    parser.add_argument("--small", action="store_true", help=f"{SMALL}, to try it; writes nothing")
    arguments = parser.parse_args()
    if arguments.small:
        vars(arguments).update(SMALL)
    sizes = {name: getattr(arguments, name) for name in ("documents", "queries", "width", "directions", "top")}
    written = {"environment": environment() | {"faiss-cpu": metadata.version("faiss-cpu")}, **sizes}
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for row in measure_all(arguments, Path(folder)):
            found.append(row)
            if not arguments.small:  # after each: an index of all documents takes its time
                RESULT.write_text(json.dumps({**written, "found": found}, indent=2) + "\n", encoding="utf-8")
    print(table(found))


if __name__ == "__main__":
    main()

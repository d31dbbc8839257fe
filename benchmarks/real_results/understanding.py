"""Intents and slots of utterances, and attribute values of titles as slots."""

from collections.abc import Mapping
from pathlib import Path

from benchmarks.real_results.bench import SEEDS, Bench, Jobs, Row, settings
from m5jax.data.catalog_records import ProductRecord
from m5jax.data.labelled_examples import attribute_spans

XSID = ("en", "de", "ar", "da", "id", "ja", "kk", "lt", "nap", "sr", "zh", "gsw", "de-ba", "de-muc", "de-st")


def understanding(bench: Bench) -> Jobs:
    sets = {
        "xsid": ("xsid_en.train", [f"xsid_{language}.test" for language in XSID], 2.0),
        "snips": ("snips_en.train", ["snips_en.test"], 6.0),
        "hwu64": ("hwu64_fold1_en.train", ["hwu64_fold1_en.test"], 10.0),
    }
    jobs = {}
    for name, (train, tests, epochs) in sets.items():
        rows = bench.rows("nlu", train, f"{name}_train", _untested)
        # SNIPS and HWU64 have no validation rows: a tenth of the training's.
        change = _lower if name == "xsid" else dict  # the training sentences are in lower case, the others not
        own = {"train": rows, "valid": bench.rows("nlu", "xsid_en.valid", "xsid_en_valid", _lower)}
        split = own if name == "xsid" else _split(bench, name, rows)
        files = {test: bench.rows("nlu", test, test, change) for test in tests}
        for start in ("pretrained", "scratch"):
            jobs[f"{name} {start}"] = (_understood, f"understanding/{name}", split, files, start, 0, epochs, "2e-3")
    return jobs


def _untested(row: Row) -> Row | None:
    # Some tags of xSID's training part are broken.
    is_whole = all(tag == "O" or tag.startswith(("B-", "I-")) for tag in row["slots"])
    return row if is_whole and not row.get("same_text_in_eval") else None


def _lower(row: Row) -> Row:
    return row | {"tokens": [token.lower() for token in row["tokens"]]}


def _understood(
    bench: Bench,
    name: str,
    split: Mapping[str, str],
    tests: Mapping[str, str],
    start: str,
    seed: int,
    epochs: float,
    peak: str,
) -> Row:
    """Returns the metrics of each test file, after fine-tuning on utterances."""
    flags = settings(length=64, batch_size=64, epochs=epochs, log_every=50, dropout_rate=0.1)
    flags += [f"--gin.Cosine.peak={peak}", f"--seed={seed}", "--column", "tags=slots"]
    flags += ["--from_scratch"] if start == "scratch" else []
    name = f"{name}_{start}_{seed}"
    bench.finetune(name, bench.pretrained, "intents_and_slots", split["train"], split["valid"], *flags)
    return {
        test: bench.evaluate(name, path, test, "--overlap=allow", "--samples=500")["all"]
        for test, path in tests.items()
    }


def _split(bench: Bench, name: str, path: str) -> dict[str, str]:
    """Returns files of nine tenths of the rows and of one tenth."""
    files = {split: bench.work / f"{name}_{split}_split.jsonl" for split in ("train", "valid")}
    if not files["valid"].exists():
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        parts: dict[str, list[str]] = {"train": [], "valid": []}
        for number, line in enumerate(lines):
            parts["valid" if number % 10 == 0 else "train"].append(line)
        for split, own in parts.items():
            files[split].write_text("".join(f"{line}\n" for line in own), encoding="utf-8")
    return {split: str(file) for split, file in files.items()}


def attributes(bench: Bench) -> Jobs:
    jobs = {}
    for name in ("oa_mine", "ae110k"):
        train = bench.rows("attributes", f"{name}.train", f"{name}_train", _as_utterance)
        tests = {"test": bench.rows("attributes", f"{name}.test", f"{name}_test", _as_utterance)}
        split = _split(bench, name, train)
        for seed in SEEDS:
            for start in ("pretrained", "scratch"):
                arguments = (f"attributes/{name}", split, tests, start, seed, 12.0, "1e-3")
                jobs[f"{name} {start} {seed}"] = (_understood, *arguments)
    return jobs


def _as_utterance(row: Row) -> Row | None:
    values = {name: value for name, found in row["values"].items() for value in [", ".join(found)] if value}
    labelled = attribute_spans(ProductRecord("", row["lang"], row["lang"], row["text"], attributes=values))
    if labelled is None:
        return None
    words, tags = zip(*labelled.pieces[1:], strict=True)
    return {"tokens": words, "slots": tags, "intent": row["category"], "language": row["lang"]}

"""Splits of a folder of files laid out as the Hugging Face `datasets` library reads them.

    data/train-00000-of-00002.parquet, data/test-00000-of-00001.parquet     a split's shards
    train/0.jsonl.gz, dev/0.jsonl.gz                                        a folder for each split
    en-train.csv, c4-validation.00000-of-00008.json.gz                      a split's name in that of the file
    offers.parquet                                                          no split's name anywhere: "train"

The first of these ways that finds a file in the folder counts, for all of it. Shards may have any split's name; in the
second and third way these words, set off by "-", "." or "_", a space, a digit or the end, stand for a split:
"""

import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from m5jax.data.readers import ALLOWED_SOURCES, COMPRESSIONS
from m5jax.errors import UserError, unknown_name

logger = logging.getLogger(__name__)

WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "train": ("train", "training"),
        "validation": ("validation", "valid", "dev", "val"),
        "test": ("test", "testing", "eval", "evaluation"),
    }
)
_FORMATS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
# Descriptions of a data set, in formats that records have too.
_NO_RECORDS = ("config.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
_SHARD = re.compile(r"(?P<split>\w+(?:\.\w+)*)-\d{5}-of-\d{5}.*")
_NAMED = {
    split: re.compile(rf"(?:.*[-._ 0-9])?(?:{'|'.join(words)})(?:[-._ 0-9].*)?") for split, words in WORDS.items()
}


def find_splits(folder: str | Path) -> dict[str, list[str]]:
    """Returns the record files of each split, sorted, train first: what `ingest_corpus` takes as `sources`.

    Synonyms have one name ("dev" is "validation"). Hidden files, and those of no format that `read_rows` knows, are
    left out; files of records that fit no split, beside others that do, are logged. A folder of several configurations
    (`en/`, `de/`) is read as one; name the configuration's own instead.

    Raises:
        UserError: there is no such folder, no file of records in it, or one that has the words of two splits.
    """
    root = Path(folder)
    if not root.is_dir():
        beside = [item.name for item in root.parent.iterdir() if item.is_dir()] if root.parent.is_dir() else []
        raise unknown_name(f"folder of {root.parent}", root.name, beside)
    files = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())
    files = [file for file in files if _holds_records(file)]
    if not files:
        raise UserError(f"{root} holds no file of records; allowed: {ALLOWED_SOURCES}")
    for split_of in (_of_shard, _of_folder, _of_name, lambda _: "train"):
        found = _grouped(root, files, split_of)
        if found:
            _warn_of_others(root, files, found)
            return found
    raise AssertionError("the last way takes every file")


def _warn_of_others(root: Path, files: list[Path], found: Mapping[str, list[str]]) -> None:
    taken = {file for split in found.values() for file in split}
    others = [str(file) for file in files if str(root / file) not in taken]
    if others:
        logger.warning("%s: %d files of no split are not read, %s first", root, len(others), others[0])


def _grouped(root: Path, files: list[Path], split_of: Callable[[Path], str]) -> dict[str, list[str]]:
    splits: dict[str, list[str]] = {}
    for file in files:
        if split := split_of(file):
            splits.setdefault(split, []).append(str(root / file))
    order = [*WORDS, *sorted(splits)]
    return {split: splits[split] for split in sorted(splits, key=order.index)}


def _of_shard(file: Path) -> str:
    shard = _SHARD.fullmatch(file.name) if file.parent == Path("data") else None
    return next((split for split, words in WORDS.items() if shard["split"] in words), shard["split"]) if shard else ""


def _of_folder(file: Path) -> str:
    return _only_split(file, file.parent.parts)


def _of_name(file: Path) -> str:
    return _only_split(file, (file.name,))


def _only_split(file: Path, names: tuple[str, ...]) -> str:
    splits = [split for split, named in _NAMED.items() if any(map(named.fullmatch, names))]
    if len(splits) > 1:
        raise UserError(f"{file} is of two splits by its name: {' and '.join(splits)}; name the files of each instead")
    return splits[0] if splits else ""


def _holds_records(file: Path) -> bool:
    if any(part.startswith((".", "__")) for part in file.parts) or file.name in _NO_RECORDS:
        return False
    suffixes = [suffix.lower() for suffix in file.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return bool(suffixes) and suffixes[-1] in _FORMATS

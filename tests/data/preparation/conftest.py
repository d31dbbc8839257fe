"""A raw corpus in three languages with planted faults, and what was prepared from it."""

import dataclasses
import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
import zstandard

WORDS = {
    "en": "kettle boils water quickly when the switch turns red and the light goes out after three minutes of heating",
    "de": "der Wasserkocher bringt einen Liter Wasser schnell zum Kochen und schaltet sich danach von selbst aus",
    "ar": "هذه الغلاية الجديدة تغلي الماء في دقائق قليلة ثم تتوقف وحدها بعد ذلك ويمكن استخدامها في البيت والمكتب",
}
FILES = {"en": "en.jsonl", "de": "de.jsonl.gz", "ar": "ar.jsonl.zst"}
TEXTS = 150


def sentence(language: str, generator: random.Random, words: int = 40) -> str:
    return " ".join(generator.choices(WORDS[language].split(), k=words))


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8")
    compress = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}
    path.write_bytes(compress.get(path.suffix, bytes)(data))


def read_lines(path: Path) -> list[str]:
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    elif path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return data.decode("utf-8").split("\n")[:-1]


def read_shards(directory: Path) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Returns the rows of each (language, split)."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for path in sorted(directory.glob("*/*.jsonl.zst")):
        found.setdefault((path.parent.name, path.name.partition("-")[0]), []).extend(map(json.loads, read_lines(path)))
    return found


@dataclasses.dataclass(frozen=True)
class Raw:
    """Files, and for each language the texts that should stay and the number that each step should drop."""

    sources: tuple[str, ...]
    kept: dict[str, set[str]]
    dropped: dict[str, dict[str, int]]


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Raw:
    directory = tmp_path_factory.mktemp("raw")
    kept: dict[str, set[str]] = {}
    for language, file in FILES.items():
        generator = random.Random(language)
        texts = [sentence(language, generator) for _ in range(TEXTS)]
        kept[language] = set(texts)
        rows = [{"body": text, "lang": language, "page": index // 3} for index, text in enumerate(texts)]
        rows += [{"body": f"  {text}\u200b\r\n", "lang": language, "page": 0} for text in texts[:5]]
        # Shorter by a word of forty: similar to 0.9 and more, and the longer one stays.
        rows += [{"body": text.rpartition(" ")[0], "lang": language, "page": 0} for text in texts[5:12]]
        other = {"en": "de", "de": "ar", "ar": "en"}[language]
        rows += [{"body": sentence(other, generator), "lang": language, "page": 0} for _ in range(3)]
        rows += [
            {"body": "1234 5678 90-12 34", "lang": language, "page": 0},
            {"body": "x", "lang": language, "page": 0},
        ]
        generator.shuffle(rows)
        write_rows(directory / file, rows)
    dropped = {
        "exact_duplicate": 5,
        "near_duplicate": 7,
        "language_differs": 3,
        "too_few_letters": 1,
        "too_few_characters": 1,
    }
    return Raw(tuple(str(directory / file) for file in FILES.values()), kept, dict.fromkeys(FILES, dropped))

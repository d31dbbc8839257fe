"""MASSIVE: a million utterances with intents and slots in 51 languages (arXiv 2204.08582).

Unpack `amazon-massive-dataset-1.0.tar.gz` of github alexa/massive (CC-BY-4.0, 40 MB) and put `1.0/data/*.jsonl` into
`$M5JAX_DATA/massive/`. Each file holds the partitions train, dev and test.

`massive_LOCALE_intent_and_slots`, such as `massive_ar_sa_intent_and_slots`, and `massive_intent_and_slots` of all.
"""

import re
from collections.abc import Mapping
from typing import Any

from m5jax.data.corpus import Corpus, ingest_corpus
from m5jax.data.field_reader import BadRecord
from m5jax.data.labelled_tasks import add_labelled_tasks
from m5jax.errors import UserError
from tasks.data_folder import data_folder

_LOCALES = """
af-ZA am-ET ar-SA az-AZ bn-BD cy-GB da-DK de-DE el-GR en-US es-ES fa-IR fi-FI fr-FR he-IL hi-IN hu-HU hy-AM id-ID is-IS
it-IT ja-JP jv-ID ka-GE km-KH kn-IN ko-KR lv-LV ml-IN mn-MN ms-MY my-MM nb-NO nl-NL pl-PL pt-PT ro-RO ru-RU sl-SL sq-AL
sv-SE sw-KE ta-IN te-IN th-TH tl-PH tr-TR ur-PK vi-VN zh-CN zh-TW
"""
LOCALES = tuple(_LOCALES.split())
# Annotated text: "wake me up at [time : nine am]". Languages written without spaces have one tag a run of characters.
_SLOT = re.compile(r"\[([^\[\]:]+) : ([^\[\]]*)\]")

Row = Mapping[str, Any]


def tagged(row: Row) -> Row:
    """Returns a row with its annotated utterance as tokens and tags."""
    tokens: list[str] = []
    tags: list[str] = []
    end = 0
    annotated = str(row["annot_utt"])
    for match in _SLOT.finditer(annotated):
        outside, inside, name = annotated[end : match.start()].split(), match[2].split(), match[1].strip()
        tokens += [*outside, *inside]
        tags += ["O"] * len(outside) + [f"B-{name}", *[f"I-{name}"] * (len(inside) - 1)][: len(inside)]
        end = match.end()
    outside = annotated[end:].split()
    if any("[" in token or "]" in token for token in (*tokens, *outside)):
        raise BadRecord(f"annot_utt has a bracket that is not of the form [slot : words]: {annotated[:60]!r}")
    return {**row, "tokens": [*tokens, *outside], "tags": [*tags, *["O"] * len(outside)]}


def _massive() -> Corpus:
    folder = data_folder() / "massive"
    if not any(folder.glob("*.jsonl")):
        raise UserError(f"{folder} holds no file such as en-US.jsonl; see the head of tasks/massive.py")
    return ingest_corpus(
        "massive",
        {"train": [str(folder / f"{locale}.jsonl") for locale in LOCALES if (folder / f"{locale}.jsonl").is_file()]},
        kind="utterance",
        column_mapping={"language": "locale", "split": "partition"},
        rewrite=tagged,
    )


add_labelled_tasks("massive", _massive, [locale.lower() for locale in LOCALES], "intent_and_slots")

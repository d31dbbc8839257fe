"""Labelled rows in the folder that the environment variable M5JAX_DATA names, JSON lines with zstandard.

duplicates/NAME.{train,valid,test}    `NAME_duplicates`: left, right, label (the files of Ditto, arXiv 2004.00584)
attributes/NAME.{train,test}          `NAME_attribute_spans`: text, category, values (ExtractGPT, arXiv 2310.12537)
search/home_depot.{train,valid,test}  `home_depot_relevance`: query, product, relevance from 1 to 3
nlu/NAME.{train,test}                 `xsid`, `snips` and `hwu64_intent_and_slots`: tokens, slots, intent
clicks/open_bandit_NAME               `open_bandit_NAME_clicks`: item, position, click, without any text
"""

import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from m5jax.data.corpus import Corpus, ingest_corpus
from m5jax.data.labelled_tasks import add_labelled_tasks
from m5jax.errors import UserError
from tasks.data_folder import data_folder

Row = Mapping[str, Any]

# The column of the title within a product; other columns are attributes.
MATCHING = {
    "abt_buy": "name",
    "amazon_google": "title",
    "beer": "Beer_Name",
    "itunes_amazon": "Song_Name",
    "itunes_amazon_dirty": "Song_Name",
}
WDC = ("wdc_cameras", "wdc_computers", "wdc_shoes")
EXTRACTION = ("oa_mine", "ae110k")
UNDERSTANDING = {
    "xsid": {"train": "xsid_en.train", "validation": "xsid_en.valid", "test": "xsid_en.test"},
    "snips": {"train": "snips_en.train", "test": "snips_en.test"},
    "hwu64": {"train": "hwu64_fold1_en.train", "test": "hwu64_fold1_en.test"},
}
CAMPAIGNS = ("men_bts", "men_random", "women_bts", "women_random")
_VALIDATION_FRACTION = 0.1


def _files(folder: str, names: Mapping[str, str]) -> dict[str, str]:
    return {split: str(data_folder() / folder / f"{name}.jsonl.zst") for split, name in names.items()}


def _matching(name: str, title: str, size: str = "") -> Corpus:
    names = {"train": f"{name}.train{size}", "validation": f"{name}.valid{size}", "test": f"{name}.test"}
    return ingest_corpus(
        name,
        _files("duplicates", names),
        kind="pair",
        column_mapping={"title": title},
        defaults={"language": "en"},
    )


def as_product(row: Row) -> Row:
    """Returns a product with the text as title and the values as attributes."""
    identifier = hashlib.blake2b(row["text"].encode(), digest_size=8).hexdigest()
    return {"id": identifier, "language": row["lang"], "title": row["text"], "attributes": row["values"]}


def _extraction(name: str) -> Corpus:
    files = _files("attributes", {"train": f"{name}.train", "test": f"{name}.test"})
    # The same title occurs twice, with other values.
    return ingest_corpus(name, files, validation_fraction=_VALIDATION_FRACTION, rewrite=as_product, reject_limit=0.1)


def with_grade(row: Row) -> Row:
    """Returns the mean of the raters as one of the grades 1, 2 and 3."""
    return {**row, "grade": int(row["relevance"] + 0.5)}


def _home_depot() -> Corpus:
    names = {"train": "home_depot.train", "validation": "home_depot.valid", "test": "home_depot.test"}
    columns = {"label": "grade", "language": "lang"}
    return ingest_corpus(
        "home_depot", _files("search", names), kind="judgement", column_mapping=columns, rewrite=with_grade
    )


def without_evaluation_texts(row: Row) -> Row | None:
    """Leaves out the rows of a training file whose text is in an evaluation file too."""
    return None if row.get("same_text_in_eval") else row


def _understanding(name: str) -> Corpus:
    return ingest_corpus(
        name,
        _files("nlu", UNDERSTANDING[name]),
        kind="utterance",
        column_mapping={"language": "lang", "tags": "slots"},
        validation_fraction=_VALIDATION_FRACTION,
        rewrite=without_evaluation_texts,
        # xSID has misspelt tags ("Orecurring_datetime").
        reject_limit=0.05,
    )


def _clicks(campaign: str) -> Corpus:
    shop = campaign.partition("_")[0]
    path = data_folder() / "clicks" / f"open_bandit_{shop}.items.json"
    try:
        items = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the items of the shop, {path}: {error}") from error

    def with_item(row: Row) -> Row:
        features = {f"feature {place}": value for place, value in enumerate(items[str(row["item_id"])])}
        shown = f"position {row['position']} user {' '.join(row['user'])}"
        return {**row, "query": shown, "product": {"attributes": features}}

    return ingest_corpus(
        f"open_bandit_{campaign}",
        _files("clicks", {"train": f"open_bandit_{campaign}"}),
        kind="judgement",
        column_mapping={"label": "click", "split": "split"},
        defaults={"language": "en"},
        rewrite=with_item,
    )


for _name, _title in MATCHING.items():
    add_labelled_tasks(_name, functools.partial(_matching, _name, _title), ("en",), "duplicates")
for _name in WDC:
    add_labelled_tasks(_name, functools.partial(_matching, _name, "title", "_small"), ("en",), "duplicates")
for _name in EXTRACTION:
    add_labelled_tasks(_name, functools.partial(_extraction, _name), ("en",), "attribute_spans")
add_labelled_tasks("home_depot", _home_depot, ("en",), "relevance")
for _name in UNDERSTANDING:
    add_labelled_tasks(_name, functools.partial(_understanding, _name), ("en",), "intent_and_slots")
for _name in CAMPAIGNS:
    add_labelled_tasks(f"open_bandit_{_name}", functools.partial(_clicks, _name), ("en",), "clicks")

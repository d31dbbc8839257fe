"""What the benchmarks train on: a mixture of every family of tasks, and a vocabulary for those of real text."""

from pathlib import Path

import tasks  # noqa: F401  registers the tasks
from m5jax.data.labelled_tasks import FAMILIES
from m5jax.data.mixtures import find_tasks
from m5jax.data.task_builders import ATTRIBUTE_FORMATS, OBJECTIVES, PRODUCT_PAIRS, VALUE_MASKINGS
from m5jax.data.vocabulary import train_vocabulary

REAL_TEXT_VOCABULARY_SIZE = 16_000
REAL_TEXT_VOCABULARY_TEXTS = 6_000

EMBEDDED = [
    *(f"embedded_catalog_{name}" for name in (*OBJECTIVES, *ATTRIBUTE_FORMATS, *VALUE_MASKINGS, *PRODUCT_PAIRS)),
    *(f"embedded_catalog_{family}{form}" for family in FAMILIES for form in ("", "_text")),
    "embedded_catalog_multitask",
    "embedded_catalog_search",
]
REAL = [
    *(f"multilingual_text_{name}" for name in OBJECTIVES),
    *(f"products_{name}" for name in (*ATTRIBUTE_FORMATS, *VALUE_MASKINGS, *PRODUCT_PAIRS, "attribute_spans")),
    "debian_catalogue_mlm",
    "debian_catalogue_product_type",
    "oa_mine_attribute_spans",
    "abt_buy_duplicates",
    "wdc_computers_duplicates",
    "home_depot_relevance",
    "open_bandit_men_random_clicks",
    "snips_intent_and_slots",
    "xsid_intent_and_slots",
]


def real_text_vocabulary(name: str, seed: int) -> Path:
    """Returns a vocabulary for a mixture of corpora, trained on a sample of each by the first call."""
    sources = {task.source.language: task.source for task in find_tasks(name)}
    directory = next(iter(sources.values())).corpus().directory.parent
    path = directory / f"benchmark_{name}_{REAL_TEXT_VOCABULARY_SIZE}_{seed}.model"
    if not path.is_file():
        train_vocabulary(
            {language: source.corpus().texts(language, "train") for language, source in sources.items()},
            {language: source.num_input_examples("train") for language, source in sources.items()},
            size=REAL_TEXT_VOCABULARY_SIZE,
            output=path,
            max_sentences=REAL_TEXT_VOCABULARY_TEXTS,
            seed=seed,
        )
    return path

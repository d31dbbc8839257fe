"""Mining of hard negatives with the model as it is."""

import numpy as np

from m5jax.finetuning.batches import ShuffledBatches
from m5jax.finetuning.examples import Example
from m5jax.finetuning.mining import Miner
from m5jax.finetuning.rows import PairRows, encode_examples, pair_sides
from m5jax.finetuning.tasks import Labels, TwoTowerTask
from m5jax.retrieval.hard_negative_settings import HardNegativeSettings
from tests.finetuning.search_examples import LENGTH, scorer, tokenizer, towers

LEXICAL = HardNegativeSettings(
    negatives_per_query=1, dense_share=0.0, lexical_share=1.0, relative_margin=None, index=None
)


def test_lexical_negatives_share_a_word_and_not_only_field_tokens() -> None:
    """All texts have a title: of four queries each has one text, beside what fits it, that shares a word with it."""
    words = [("red", "lamp"), ("blue", "chair"), ("green", "drill"), ("steel", "hose")]
    sharing = {f"<title> {color} {thing}": f"<title> 12 {color}" for color, thing in words}
    fitting = [(f"<title> {color} {thing}", f"<title> big {thing}") for color, thing in words]
    pairs = [(*pair, 1.0) for pair in fitting] + [(*pair, 0.0) for pair in sharing.items()]
    examples = [Example(f"rows:{row}", (left, right), label) for row, (left, right, label) in enumerate(pairs)]
    rows = encode_examples(examples, TwoTowerTask(), Labels(), tokenizer(), LENGTH)
    batches = ShuffledBatches(rows, np.ones(len(examples), np.float32), 4, seed=0)
    lefts, rights = pair_sides(examples)
    figures = Miner(batches, lefts, rights, scorer("cosine"), LEXICAL).refresh(0, towers("cosine")[1])
    assert isinstance(batches.rows, PairRows)
    mined = [rights[negative] for (negative,) in batches.rows.negatives]
    assert mined == [sharing[left] for left, _, _ in pairs]
    assert (figures["negatives/lexical"], figures["negatives/dropped_positive"]) == (1.0, 4.0)

import dataclasses

import numpy as np
import pytest

from m5jax.errors import UserError
from m5jax.finetuning.rows import PairRows, encode_examples
from m5jax.finetuning.search_validation import make_search_validator, needs_search
from m5jax.finetuning.tasks import JointTask, Labels, TwoTowerTask
from tests.finetuning import search_examples as tiny


def test_validation_searches_among_the_right_sides_of_all_pairs_for_queries_that_are_asked() -> None:
    task, parameters = TwoTowerTask(shared=False, projection=tiny.SIZE), tiny.towers("cosine")[1]
    examples = [dataclasses.replace(example, label=1.0) for example in tiny.judged_pairs(3, queries=20, each=2)]
    never = examples[2].texts[0]
    examples = [
        dataclasses.replace(example, weight=0.0) if example.texts[0] == never else example for example in examples
    ]
    rows = encode_examples(examples, task, Labels(), tiny.tokenizer(), tiny.LENGTH)
    assert isinstance(rows, PairRows)
    fitting: dict[str, set[str]] = {}
    for example in examples:
        fitting.setdefault(example.texts[0], set()).add(example.texts[1])
    rights = sorted({example.texts[1] for example in examples})
    values = []
    similarities = tiny.naive_similarities("cosine", parameters, list(fitting), rights, 0)
    for query, own in zip(fitting, similarities, strict=True):
        ranked = [rights[place] for place in np.argsort(-own) if rights[place] != query]
        if query != never:
            values.append(tiny.naive_metrics(ranked, dict.fromkeys(fitting[query], 1.0), 1.0))
    validate = make_search_validator(task, examples, rows, tiny.scorer("cosine"))
    found = validate(parameters)
    assert found == pytest.approx({name: np.mean([own[name] for own in values]) for name in ("mrr", "recall@10")})
    assert 0 < found["mrr"] < 1


def test_only_pairs_that_all_fit_need_a_search() -> None:
    pairs = tiny.judged_pairs(0, grades=(0, 1))
    fitting = [dataclasses.replace(pair, label=1.0) for pair in pairs]
    assert needs_search(TwoTowerTask(), fitting)
    assert not needs_search(TwoTowerTask(), pairs)
    assert not needs_search(JointTask(), fitting)
    assert not needs_search(TwoTowerTask(similarity="mlp"), pairs)
    with pytest.raises(UserError, match="all 72 validation pairs fit, and the similarity mlp cannot search"):
        needs_search(TwoTowerTask(similarity="mlp"), fitting)

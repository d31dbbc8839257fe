"""Validation by search, of pairs that all fit: without one that does not, pairs have no threshold."""

from collections.abc import Callable, Sequence

import numpy as np

from m5jax.errors import UserError
from m5jax.finetuning.answers import fits
from m5jax.finetuning.examples import Example
from m5jax.finetuning.rows import PairRows
from m5jax.finetuning.scoring import Scorer
from m5jax.finetuning.search_assessment import measure_queries
from m5jax.finetuning.search_data import gather
from m5jax.finetuning.search_systems import FETCHED, Towers, found_among_all
from m5jax.finetuning.tasks import Task, TwoTowerTask
from m5jax.models import Parameters

SELECTED_OF_SEARCH = ("mrr", True)  # by which the best checkpoint is chosen, and whether it is to be large
_METRICS = ("mrr", "recall@10")


def needs_search(task: Task, examples: Sequence[Example]) -> bool:
    """Whether examples are pairs for two towers that all fit.

    Raises:
        UserError: they are, and the similarity is "mlp", by which nothing can be searched.
    """
    if not isinstance(task, TwoTowerTask) or not fits(task, examples).all():
        return False
    if task.similarity == "mlp":
        raise UserError(
            f"all {len(examples)} validation pairs fit, and the similarity mlp cannot search for them; needed: pairs "
            "that do not fit, or another similarity"
        )
    return True


def make_search_validator(
    task: TwoTowerTask, examples: Sequence[Example], rows: PairRows, scorer: Scorer
) -> Callable[[Parameters], dict[str, float]]:
    """Returns a function from parameters to how well a search finds, among all right sides, those of each left one.

    Args:
        task: of the examples.
        examples: pairs that fit.
        rows: the same, encoded.
        scorer: of the model.
    """
    data = gather(examples, task.labels)
    left, right = rows.pairs[data.query_rows, 0], rows.pairs[data.document_rows, 1]

    def validate(parameters: Parameters) -> dict[str, float]:
        queries = scorer.embed(parameters, rows.left)[left]
        documents = scorer.embed(parameters, rows.right, right=True)[right]
        system = Towers(scorer, parameters, task.similarity, queries, documents).system()
        values = measure_queries(data, found_among_all(data, system.search(FETCHED)))
        return {name: float(np.mean(values[name])) for name in _METRICS}

    return validate

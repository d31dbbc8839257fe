"""What the rows of predictions hold, kind by kind.

A unit is what counts once: a pair, a query, an utterance, a labelled example, a text. A row is a unit, or for `search`
a document of a query, for `masked` a part of a text that was hidden. `group` is what results are shown apart for: a
language, a data set, a system.

    pairs, clicks     unit, group, label (1: a duplicate, or clicked), score, predicted (the decision taken)
    search            query, document, group, grade, score, rank, weight
    classification    unit, group, label, predicted, and may have score
    regression        unit, group, label, score (what the model says the label is)
    understanding     unit, group, intent, predicted_intent, tags, predicted_tags (one each a word)
    text              unit, group, target, predicted
    masked            unit, group, hidden, place, attribute, target, predicted, correct, loss

Of `search`: `grade` is how relevant the document is, 0 where it is not, or was not judged; `rank` is its place among
those found for the query, from 1, by falling score; a relevant document that was not found has a row without score and
rank; `weight` is how much the query counts, the same in all its rows. Of `masked`: `hidden` is "token", "word" or
"value", `place` tells those of a text apart, `attribute` is the name of a value's and else empty, `correct` is whether
all tokens were predicted right, and `loss` their cross-entropy in nats. Nothing else is missing, and no number is NaN
or infinite.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m5jax.errors import UserError
from m5jax.evaluation.metrics.masked import HIDDEN

_UNIT = {"unit": pa.string(), "group": pa.string()}
_PAIRS = {**_UNIT, "label": pa.int8(), "score": pa.float64(), "predicted": pa.bool_()}
COLUMNS: Mapping[str, Mapping[str, pa.DataType]] = MappingProxyType(
    {
        "pairs": _PAIRS,
        "clicks": _PAIRS,
        "search": {
            "query": pa.string(),
            "document": pa.string(),
            "group": pa.string(),
            "grade": pa.float64(),
            "score": pa.float64(),
            "rank": pa.int32(),
            "weight": pa.float64(),
        },
        "classification": {**_UNIT, "label": pa.string(), "predicted": pa.string(), "score": pa.float64()},
        "regression": {**_UNIT, "label": pa.float64(), "score": pa.float64()},
        "understanding": {
            **_UNIT,
            "intent": pa.string(),
            "predicted_intent": pa.string(),
            "tags": pa.list_(pa.string()),
            "predicted_tags": pa.list_(pa.string()),
        },
        "text": {**_UNIT, "target": pa.string(), "predicted": pa.string()},
        "masked": {
            **_UNIT,
            "hidden": pa.string(),
            "place": pa.int32(),
            "attribute": pa.string(),
            "target": pa.string(),
            "predicted": pa.string(),
            "correct": pa.bool_(),
            "loss": pa.float64(),
        },
    }
)
KINDS = tuple(COLUMNS)
# Kind: columns that need not be there.
OPTIONAL: Mapping[str, tuple[str, ...]] = MappingProxyType({"classification": ("score",)})
# Kind: columns that the data says; the others are a system's answers.
TRUTH: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "pairs": ("label",),
        "clicks": ("label",),
        "search": ("grade", "weight"),
        "classification": ("label",),
        "regression": ("label",),
        "understanding": ("intent", "tags"),
        "text": ("target",),
        "masked": ("attribute", "target"),
    }
)
# Kind: columns that, beside those of its unit, tell rows apart, where a unit has several.
_WITHIN_UNIT: Mapping[str, tuple[str, ...]] = MappingProxyType({"search": ("document",), "masked": ("hidden", "place")})
_NOT_FOUND = ("score", "rank")


def unit_keys(kind: str) -> tuple[str, str]:
    """Returns the columns that tell units apart."""
    return ("group", "query") if kind == "search" else ("group", "unit")


def row_keys(kind: str) -> tuple[str, ...]:
    """Returns the columns that tell rows apart."""
    return (*unit_keys(kind), *_WITHIN_UNIT.get(kind, ()))


def check_table(kind: str, table: pa.Table) -> None:
    """Raises UserError unless the table has the columns of a known kind, in order, and rows that are as they must."""
    _check_columns(kind, table)
    if not table.num_rows:
        raise UserError("predictions have no rows; allowed: 1 and above")
    for name in table.column_names:
        _check_column(kind, name, table[name])
    keys = list(row_keys(kind))
    if table.group_by(keys).aggregate([]).num_rows != table.num_rows:
        raise UserError(f"two rows of {kind} have the same {' and '.join(keys)}")
    if kind in ("pairs", "clicks") and not pc.all(pc.is_in(table["label"], pa.array([0, 1], pa.int8()))).as_py():
        raise UserError(f"column label of {kind} holds something else than 0 and 1")
    if kind == "search":
        _check_queries(table)
        _check_ranks(table)
    if kind == "masked" and (unknown := set(table["hidden"].to_pylist()) - {*HIDDEN}):
        raise UserError(f"column hidden of masked holds {min(unknown)!r}; allowed: {', '.join(HIDDEN)}")
    if kind == "understanding":
        lengths = [pc.list_value_length(table[name]) for name in ("tags", "predicted_tags")]
        if not pc.all(pc.equal(*lengths)).as_py():
            raise UserError("tags and predicted_tags of a unit differ in number; allowed: one each a word")


def _check_columns(kind: str, table: pa.Table) -> None:
    allowed = COLUMNS[kind]
    needed = [name for name in allowed if name in table.column_names or name not in OPTIONAL.get(kind, ())]
    if table.column_names != needed:
        raise UserError(f"predictions of kind {kind} have columns {table.column_names}; allowed: {list(allowed)}")
    for name in needed:
        if table[name].type != allowed[name]:
            raise UserError(f"column {name} of {kind} is of type {table[name].type}; allowed: {allowed[name]}")


def _check_column(kind: str, name: str, column: pa.ChunkedArray) -> None:
    values = pc.list_flatten(column) if pa.types.is_list(column.type) else column
    if (column.null_count or values.null_count) and not (kind == "search" and name in _NOT_FOUND):
        raise UserError(f"column {name} of {kind} lacks a value")
    # Of no values at all, `all` is null.
    if pa.types.is_floating(values.type) and pc.all(pc.is_finite(values)).as_py() is False:
        raise UserError(f"column {name} of {kind} holds NaN or an infinity")


def _check_queries(table: pa.Table) -> None:
    if pc.min(table["grade"]).as_py() < 0:
        raise UserError(f"column grade of search holds {pc.min(table['grade'])}; allowed: 0 and above")
    if pc.min(table["weight"]).as_py() <= 0:
        raise UserError(f"column weight of search holds {pc.min(table['weight'])}; allowed: above 0")
    weights = table.group_by(["group", "query"]).aggregate([("weight", "count_distinct")])
    if pc.max(weights["weight_count_distinct"]).as_py() > 1:
        raise UserError("a query of search has several weights; allowed: one in all its rows")


def _check_ranks(table: pa.Table) -> None:
    missing = [pc.is_null(table[name]) for name in _NOT_FOUND]
    if not pc.all(pc.equal(*missing)).as_py():
        raise UserError("a row of search has a score or a rank only; allowed: both, or neither where it was not found")
    found = table.filter(pc.invert(missing[0]))
    if not found.num_rows:
        raise UserError("no document of search was found: none has a score and a rank")
    groups, queries = (pc.dictionary_encode(found[name]).combine_chunks().indices for name in ("group", "query"))
    ranks, scores = found["rank"].to_numpy(), found["score"].to_numpy()
    order = np.lexsort((ranks, queries, groups))
    units = np.stack([groups, queries], axis=1)[order]
    follows = np.concatenate([[False], (units[1:] == units[:-1]).all(axis=1)])
    before = np.concatenate([[0], ranks[order][:-1]])
    if (ranks[order] != np.where(follows, before + 1, 1)).any():
        raise UserError("the ranks of a query of search are not 1, 2, 3 and so on")
    if (np.diff(scores[order])[follows[1:]] > 0).any():
        raise UserError("the ranks of a query of search are not by falling score")

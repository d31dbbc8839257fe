"""Reports and predictions that tests share."""

from typing import Any

import numpy as np

from m5jax.evaluation.estimates import Estimate
from m5jax.evaluation.predictions import Predictions, make_predictions
from m5jax.evaluation.report_data import Curve, EvaluationReport, Example, Group, Line, Matrix

COLUMNS_OF: dict[str, dict[str, Any]] = {
    "pairs": {
        "unit": ["1", "2", "1"],
        "group": ["de", "de", "en"],
        "label": [1, 0, 1],
        "score": [0.9, 0.8, -3.0],
        "predicted": [True, True, False],
    },
    "search": {
        "query": ["q", "q", "p", "p"],
        "document": ["1", "2", "1", "2"],
        "group": ["en"] * 4,
        "grade": [3.0, 0.0, 0.5, 1.0],
        "score": [0.1, 0.2, 0.3, None],
        "rank": [2, 1, 1, None],
        "weight": [1.0, 1.0, 2.5, 2.5],
    },
    "classification": {"unit": ["1"], "group": ["en"], "label": ["a"], "predicted": ["b"], "score": [0.5]},
    "regression": {"unit": ["1"], "group": ["en"], "label": [4.0], "score": [3.5]},
    "understanding": {
        "unit": ["1", "2"],
        "group": ["en", "en"],
        "intent": ["buy", "ask"],
        "predicted_intent": ["buy", "buy"],
        "tags": [["O", "B-color"], []],
        "predicted_tags": [["O", "O"], []],
    },
    "text": {"unit": ["1"], "group": ["ja"], "target": ["赤い"], "predicted": ["\n|<b>"]},
    "masked": {
        "unit": ["1", "1", "1", "2"],
        "group": ["de"] * 4,
        "hidden": ["token", "word", "value", "word"],
        "place": [0, 0, 0, 7],
        "attribute": ["", "", "Farbe", ""],
        "target": ["▁rot", "Kessel", "rot", "Kessel"],
        "predicted": ["▁rot", "Topf", "blau", "Kessel"],
        "correct": [True, False, False, True],
        "loss": [0.1, 9.0, 4.5, 1.5],
    },
}
COLUMNS_OF["clicks"] = COLUMNS_OF["pairs"]

HOSTILE = '</pre><script src="https://example.com/x.js">alert("1")</script> & $\\frac$ |\n# [a](http://b) `c` *d* _e_'


def report_of(text: str = "de", kind: str = "pairs") -> EvaluationReport:
    """Returns a report with everything in it, in which each text holds `text`."""
    metrics = {f"f1 {text}": Estimate(0.8, 0.75, 0.85, 1200), f"loss {text}": Estimate(1234.5, None, None, 900)}
    return EvaluationReport(
        title=f"Report {text}",
        kind=kind,
        facts={f"run {text}": f"runs/a {text}"},
        groups=(Group(f"first {text}", metrics), Group(f"second {text}", dict(list(metrics.items())[:1]))),
        curves=(
            Curve(
                f"Curve {text}",
                f"x {text}",
                f"y {text}",
                (Line(f"one {text}", (0.0, 0.5, 1.0), (1.0, 0.9, 0.2)), Line(f"two {text}", (0.0, 1.0), (1.0, 0.0))),
                True,
            ),
        ),
        matrices=(Matrix(f"Matrix {text}", (f"a {text}", f"b {text}"), ((7, 1), (0, 23))),),
        examples=(Example(f"mistake {text}", {f"left {text}": f"kettle {text}"}),),
        notes=(f"note {text}",),
    )


def pair_predictions(seed: int = 0, noise: float = 1.0, units: int = 60, kind: str = "pairs") -> Predictions:
    """Returns pairs in two groups whose labels depend on the row only, and whose scores are worse with more noise."""
    generator = np.random.default_rng(seed)
    labels = np.arange(units) % 3 == 0
    scores = 1 / (1 + np.exp(-(2.0 * labels - 1.0 + noise * generator.normal(size=units))))
    columns = {"unit": [f"pair {row}" for row in range(units)], "group": ["de", "en"] * (units // 2)}
    columns |= {"label": labels.astype(np.int8), "score": scores, "predicted": scores >= 0.5}
    return make_predictions(kind, "f00d", columns)

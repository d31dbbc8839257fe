"""Masked texts with a model's likeliest fills, for people to read: `samples.json` of a run."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from m5jax.errors import UserError, first_line

FILE_NAME = "samples.json"
FILLS = 5  # of a blank


class FilledBlank(NamedTuple):
    """A masked token.

    Attributes:
        hidden: the piece that stood there.
        fills: the likeliest pieces, and their probabilities, falling.
    """

    hidden: str
    fills: list[tuple[str, float]]


class FilledText(NamedTuple):
    """A text, or its beginning, in which `[1]`, `[2]`, ... stand for its masked tokens."""

    text: str
    blanks: list[FilledBlank]


FilledTexts = dict[str, list[FilledText]]


def filled_as_json(filled: FilledTexts) -> Any:
    """Returns what `read_filled` reads, once it is written."""
    return {label: [{"text": own.text, "blanks": own.blanks} for own in texts] for label, texts in filled.items()}


def read_filled(run_dir: Path) -> FilledTexts:
    """Returns the filled texts of a run; none where it has no file of them.

    Raises:
        UserError: the file cannot be read or holds something else.
    """
    path = run_dir / FILE_NAME
    if not path.exists():
        return {}
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))
        return {str(label): [_text(own) for own in texts] for label, texts in labels.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"cannot read the samples {path}: {first_line(error)}") from error


def _text(own: Any) -> FilledText:
    blanks = [
        FilledBlank(str(hidden), [(str(fill), float(share)) for fill, share in fills])
        for hidden, fills in own["blanks"]
    ]
    return FilledText(str(own["text"]), blanks)

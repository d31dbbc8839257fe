"""The folder of an evaluation: `report.json`, `report.md`, `report.html`, `predictions.parquet`.

Those of a run are RUN_DIR/evaluations/NAME.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from m5jax.errors import UserError, unknown_name
from m5jax.evaluation.predictions import Predictions, write_predictions
from m5jax.evaluation.report_data import FILE_NAME as REPORT
from m5jax.evaluation.report_data import EvaluationReport, write_report_data
from m5jax.evaluation.report_html import report_html
from m5jax.evaluation.report_markdown import report_markdown

EVALUATIONS = "evaluations"
MARKDOWN_NAME, HTML_NAME = "report.md", "report.html"


def write_evaluation(folder: Path, report: EvaluationReport, predictions: Predictions) -> Path:
    """Writes the files of an evaluation, all or none; returns the folder.

    Args:
        folder: must be empty, or not exist.
        report: what was found.
        predictions: that it was found from, of the same kind.

    Raises:
        UserError: the kinds differ, there is something in the folder, or it cannot be written.
    """
    if report.kind != predictions.kind:
        raise UserError(f"the report is of kind {report.kind}, its predictions of kind {predictions.kind}")
    with new_folder(folder) as staging:
        write_predictions(staging, predictions)
        write_report_data(staging, report)
        for name, text in ((MARKDOWN_NAME, report_markdown(report)), (HTML_NAME, report_html(report))):
            (staging / name).write_text(text, encoding="utf-8", errors="replace")
    return folder


def find_evaluation(path: Path, name: str | None = None) -> Path:
    """Returns the folder of an evaluation.

    Args:
        path: the folder itself, or a run directory.
        name: of the evaluation in a run directory that holds several.

    Raises:
        UserError: there is none, or none of the name, or there are several and `name` does not tell which.
    """
    if (path / REPORT).is_file():
        return path
    found = sorted(report.parent.name for report in path.glob(f"{EVALUATIONS}/*/{REPORT}"))
    if not found:
        raise UserError(f"{path} holds no evaluation: neither {REPORT} nor {EVALUATIONS}/NAME/{REPORT}")
    if name is None and len(found) > 1:
        raise UserError(f"{path} holds several evaluations; add --evaluation= with one of {', '.join(found)}")
    if name is not None and name not in found:
        raise unknown_name(f"evaluation of {path}", name, found)
    return path / EVALUATIONS / (name or found[0])


def check_new_folder(folder: Path) -> None:
    """Raises UserError where there is something in `folder`, or it is a file."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists; remove it or choose another one")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Within its context is a folder to write into, which becomes `folder` at the end unless something is raised.

    Raises:
        UserError: there is something in `folder`, or it cannot be written.
    """
    final = folder.resolve()
    try:
        check_new_folder(folder)
        final.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{final.name}.", dir=final.parent) as temporary:
            staging = Path(temporary) / "evaluation"
            staging.mkdir()
            yield staging
            staging.rename(final)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}") from error

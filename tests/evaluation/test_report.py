"""The report is one valid page that needs nothing else, shows the figures and escapes what it quotes."""

import math
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m5jax.errors import UserError
from m5jax.evaluation import report
from m5jax.evaluation.tables import LanguageResult, RunSummary, write_summary
from m5jax.training.run_log import RunLog
from tests.evaluation.html_checks import Page

HOSTILE = '</pre><script src="https://example.com/x.js">alert("1")</script> & $\\frac$'


def write_run(run_dir: Path, summary: bool = True, name: str = "en") -> Path:
    with RunLog(run_dir) as log:
        for step in range(10, 210, 10):
            values = {"train/loss": 100 / step, "train/learning_rate": 1e-4, "train/gradient_norm": 1.0}
            values |= {"train/weight_norm": 2.0}
            log.write(step, values | {"speed/tokens_per_second": 5e4})
            if step % 50 == 0:
                for language, gain in ((name, 0.0), ("de", 0.1)):
                    prefix = f"evaluation/{language}"
                    log.write(step, {f"{prefix}/loss": 100 / step + gain, f"{prefix}/accuracy": step / 400 - gain})
    if summary:
        languages = {name: LanguageResult(2.0714, 0.5612, 0.0713, 6.2), "de": LanguageResult(2.5, 0.41, 0.05, 6.0)}
        write_summary(
            run_dir,
            RunSummary(
                languages, 200, 1_234_567, 48_123.4, 0.4123, HOSTILE, HOSTILE, "2026-01-02T03:04:05+00:00", HOSTILE,
                {"jax": "0.10.2", HOSTILE: HOSTILE},
            ),
        )  # fmt: skip
        (run_dir / "config.gin").write_text(f"# {HOSTILE}\nTRAIN_STEPS = 200\nNOTE = '{HOSTILE}'\nEncoder.layers = 4\n")
    return run_dir


def page_of(run_dir: Path) -> Page:
    path = report.write_report(run_dir)
    assert path == run_dir / "report.html"
    return Page(path.read_text(encoding="utf-8"))


def test_the_page_stands_alone_and_escapes_everything(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "<b>run", name=r"<i>$\frac$"))
    assert page.tags["script"] == page.tags["link"] == page.tags["img"] == page.tags["iframe"] == 0
    assert page.tags["b"] == page.tags["i"] == 0
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links} <= page.ids.keys()
    assert max(page.ids.values()) == 1
    text = "".join(page.texts)
    assert "@import" not in text
    assert "url(http" not in (tmp_path / "<b>run" / "report.html").read_text()
    # Shown as written: twice each the device, a version and the config; the macro, the command and the end.
    assert text.count(HOSTILE) == 9
    assert "Run <b>run" in text
    assert page.texts.count(r"<i>$\frac$") == 3


def test_the_figures_and_curves_are_there(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "run"))
    assert page.cells == ["de", "2.500", "41.0%", "5.0%", "+36.0", "en", "2.071", "56.1%", "7.1%", "+49.0"]
    text = "".join(page.texts)
    for expected in ("200 steps", "1,234,567 parameters", "48,123 tokens/s", "41.2%", "0.10.2", "2026-01-02 03:04:05"):
        assert expected in text
    assert page.tags["svg"] == page.tags["figure"] == 7
    for title in (*report.CHARTS.values(), *report.EVALUATIONS.values()):
        assert title in text
    assert text.count("unigram baseline") == 2


def test_a_killed_run_shows_its_last_evaluation(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "run", summary=False))
    assert page.cells == ["de", "0.600", "40.0%", "–", "–", "en", "0.500", "50.0%", "–", "–"]
    assert "unigram baseline" not in page.texts


def test_a_run_of_nothing_but_nan_still_has_a_report(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.write(1, {"train/loss": math.nan, "evaluation/en/loss": math.inf})
    assert page_of(tmp_path).cells == ["en", "loss", "inf"]


def test_a_run_without_metrics_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"metrics\.jsonl"):
        report.write_report(tmp_path)


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=3000))
def test_a_long_history_is_thinned_to_its_means(values: list[float]) -> None:
    rows = [{"step": step, "train/loss": value} for step, value in enumerate(values)] + [{"step": 9, "other": 1.0}]
    steps, curve = report._curve(rows, "train/loss")
    assert len(steps) == len(curve) == min(len(values), report.MAXIMUM_POINTS)
    assert min(values) - 1e-6 <= curve.min()
    assert curve.max() <= max(values) + 1e-6
    assert (np.diff(steps) > 0).all()
    if len(values) <= report.MAXIMUM_POINTS:
        np.testing.assert_array_equal(curve, values)


def test_the_thinned_curve_of_two_a_point_is_their_mean() -> None:
    rows = [{"step": step, "a": float(step % 2)} for step in range(2 * report.MAXIMUM_POINTS)]
    steps, curve = report._curve(rows, "a")
    np.testing.assert_array_equal(curve, 0.5)
    np.testing.assert_array_equal(steps, np.arange(report.MAXIMUM_POINTS) * 2 + 0.5)


def test_plot_curves_writes_a_picture_of_several_runs(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "a"), write_run(tmp_path / "b", summary=False)]
    assert report.plot_curves(runs, tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    picture = ElementTree.parse(report.plot_curves(runs, tmp_path / "curves.svg"))
    text = " ".join(picture.getroot().itertext())
    for label in ("a · en", "a · de", "b · en", "b · de", *report.EVALUATIONS.values()):
        assert label in text
    with pytest.raises(UserError, match=r"cannot write .*curves\.png"):
        report.plot_curves(runs, tmp_path / "missing" / "curves.png")


def test_importing_the_report_leaves_heavy_libraries_alone() -> None:
    check = (
        "import sys, m5jax.evaluation.report, m5jax.training.run_log, m5jax.training.progress;"
        "print([name for name in ('matplotlib', 'tensorflow', 'seqio', 'gin', 'tensorboardX') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

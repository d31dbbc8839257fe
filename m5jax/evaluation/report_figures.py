"""The pictures of an evaluation's report: curves, intervals and confusion, as inline SVG.

Names and labels are untrusted: Matplotlib escapes them, and `_label` keeps them short and printable.
"""

import warnings
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from m5jax.evaluation.estimates import Estimate
from m5jax.evaluation.figures import INK, figure_settings, inline_svg
from m5jax.evaluation.report_data import Curve, Group, Matrix
from m5jax.evaluation.report_tables import metric_names, number
from m5jax.html_page import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LABEL_CHARACTERS = 32


def curve_figures(curves: Sequence[Curve]) -> list[str]:
    """Returns a `<figure>` for each curve."""
    return [
        _figure(f"curve-{place}", curve.title, (5.0, 3.6), _draw_curve, curve) for place, curve in enumerate(curves)
    ]


def matrix_figures(matrices: Sequence[Matrix]) -> list[str]:
    """Returns a picture of each matrix: a cell is darker where a larger share of a label's units is."""
    figures = []
    for place, matrix in enumerate(matrices):
        size = 2.0 + 0.42 * len(matrix.labels)
        title = f"{matrix.title}: rows are labels, columns what was predicted"
        figure = _figure(f"matrix-{place}", title, (size + 0.8, size), _draw_matrix, matrix)
        # Else few labels would fill the width of the page.
        figures.append(f'<div style="max-width: {6 * size + 5:.0f}rem">{figure}</div>')
    return figures


def interval_figures(groups: Sequence[Group], name: str = "interval") -> list[str]:
    """Returns a `<figure>` for each metric, a bar a group; of one group, one for its metrics from -1 to 1.

    Args:
        groups: with their metrics.
        name: tells the figures from others of the page.
    """
    if len(groups) == 1:
        shares = [item for item in groups[0].metrics.items() if _is_share(item[1])]
        charts = {groups[0].name: shares} if shares else {}
    else:
        charts = {
            metric: [(group.name, group.metrics[metric]) for group in groups if metric in group.metrics]
            for metric in metric_names(groups)
        }
    return [
        _figure(f"{name}-{place}", title, (5.0, 0.9 + 0.3 * len(bars)), _draw_intervals, bars)
        for place, (title, bars) in enumerate(charts.items())
    ]


def _figure(name: str, title: str, size: tuple[float, float], draw: Callable[..., None], *content: object) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(figure_settings(INK)), warnings.catch_warnings():
        # The browser's fonts draw the text; those here only measure it, and lack most of the world's letters.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots(), *content)
        return f"<figure><figcaption>{escape(title)}</figcaption>{inline_svg(figure, title, name)}</figure>"


def _draw_curve(axes: "Axes", curve: Curve) -> None:
    if curve.diagonal:
        axes.axline((0, 0), slope=1, color="#888888", linestyle="dotted", linewidth=1.3)
    drawn = []
    for index, line in enumerate(curve.lines):
        few = len(line.x) <= 20
        drawn += axes.plot(
            line.x,
            line.y,
            color=PALETTE[index % len(PALETTE)],
            linewidth=1.6 if few else 1.1,
            marker="o" if few else "",
            markersize=3,
        )
    axes.set_xlabel(_label(curve.x_label))
    axes.set_ylabel(_label(curve.y_label))
    if len(drawn) > 1:
        # Given as they are: of itself, a legend leaves out names that begin with "_".
        axes.legend(drawn, [_label(line.name) for line in curve.lines], fontsize="small", frameon=False)


def _draw_matrix(axes: "Axes", matrix: Matrix) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    counts = np.array(matrix.counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # Text stays readable on the darkest cell, on a light as on a dark page.
    colors = LinearSegmentedColormap.from_list("share", [(*_rgb(PALETTE[0]), 0.0), (*_rgb(PALETTE[0]), 0.65)])
    axes.pcolormesh(shares, cmap=colors, vmin=0, vmax=1, edgecolors="none")
    for row, column in np.argwhere(counts):
        axes.text(column + 0.5, row + 0.5, f"{counts[row, column]:,}", ha="center", va="center", fontsize=7)
    places, labels = np.arange(len(counts)) + 0.5, [_label(label) for label in matrix.labels]
    axes.set_xticks(places, labels, rotation=90)
    axes.set_yticks(places, labels)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    axes.grid(visible=False)
    axes.invert_yaxis()


def _draw_intervals(axes: "Axes", bars: Sequence[tuple[str, Estimate]]) -> None:
    for place, (_, estimate) in enumerate(bars):
        if estimate.low is not None and estimate.high is not None:
            axes.plot([estimate.low, estimate.high], [place, place], color=PALETTE[0], alpha=0.4, linewidth=6)
        axes.plot([estimate.value], [place], color=PALETTE[0], marker="o", markersize=5)
        axes.annotate(
            number(estimate.value), (1.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=8
        )
    if axes.get_xlim()[0] < 0 < axes.get_xlim()[1]:
        axes.axvline(0, color="#888888", linestyle="dotted", linewidth=1.3)
    axes.set_yticks(range(len(bars)), [_label(name) for name, _ in bars])
    axes.set_ylim(len(bars) - 0.5, -0.5)


def _is_share(estimate: Estimate) -> bool:
    return all(end is None or -1 <= end <= 1 for end in (estimate.value, estimate.low, estimate.high))


def _rgb(color: str) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    return to_rgb(color)


def _label(text: str) -> str:
    """Returns a text that a picture has room for, without what no font draws."""
    line = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in " ".join(text.split()))
    return line if len(line) <= _LABEL_CHARACTERS else line[: _LABEL_CHARACTERS - 1] + "…"

"""Matplotlib's figures as inline SVG that takes the colors of its page."""

import io
import re
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Stands for the text color of the page, which Matplotlib has no name for.
INK = "#0b0c0d"


def figure_settings(ink: str) -> dict[Any, Any]:
    """Returns the Matplotlib settings of every picture; text comes from runs, so that "$" in it is no formula."""
    return {
        "axes.edgecolor": ink,
        "axes.facecolor": "none",
        "axes.formatter.limits": (-3, 6),
        "axes.grid": True,
        "axes.labelcolor": ink,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlecolor": ink,
        "figure.facecolor": "none",
        "font.family": "sans-serif",
        "font.size": 10,
        "grid.alpha": 0.15,
        "grid.color": ink,
        "savefig.facecolor": "auto",
        "svg.fonttype": "none",
        "text.color": ink,
        "text.parse_math": False,
        "xtick.color": ink,
        "ytick.color": ink,
    }


def inline_svg(figure: "Figure", title: str, name: str) -> str:
    """Returns the figure as an `<svg>` that takes the page's text color and whose ids are its own.

    Args:
        figure: drawn within `figure_settings(INK)`.
        title: what a reader who does not see it is told.
        name: tells the figure from the others of its page.
    """
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    unique = re.sub(r"\W", "-", name)
    svg = re.sub(r'(\sid="|url\(#|href="#)', rf"\g<1>{unique}-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)

"""A figure that notebooks show, whether or not they have imported pyplot."""

import io

from matplotlib.figure import Figure


class Picture(Figure):
    """A figure of matplotlib with the form that IPython asks objects for."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()

"""What is counted in a corpus: once, and kept as JSON beside it."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from m5jax.errors import UserError


def kept(path: Path, count: Callable[[], Any]) -> Any:
    """Returns what the JSON file at `path` holds; the first call writes what `count` returns.

    Raises:
        UserError: the file cannot be written, or is damaged.
    """
    if not path.is_file():
        text = json.dumps(count(), ensure_ascii=False, indent=1)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # A name of its own: several processes may count at the same time, and count the same.
            with tempfile.NamedTemporaryFile("w", dir=path.parent, encoding="utf-8", delete=False) as partial:
                partial.write(text + "\n")
            Path(partial.name).replace(path)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it to have it made again") from error

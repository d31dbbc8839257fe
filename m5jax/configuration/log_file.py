"""What each process of a run said, in the run directory: `logs/process_0.log` and so on."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from m5jax.errors import UserError
from m5jax.training.interruption import TrainingInterrupted

FOLDER = "logs"
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@contextmanager
def logged(run_dir: Path, process: int) -> Iterator[None]:
    """Within its context all that is logged, and the error that ends it, goes to the process's file too.

    Raises:
        UserError: the file cannot be written.
    """
    path = run_dir / FOLDER / f"process_{process}.log"
    try:
        path.parent.mkdir(exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    handler.setFormatter(logging.Formatter(FORMAT))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    except (UserError, TrainingInterrupted) as error:
        _write(handler, str(error))
        raise
    except BaseException as error:
        _write(handler, "stopped", error)
        raise
    finally:
        root.removeHandler(handler)
        handler.close()


def _write(handler: logging.Handler, message: str, error: BaseException | None = None) -> None:
    """Writes to the file only: the screen has it from the command."""
    info = None if error is None else (type(error), error, error.__traceback__)
    handler.handle(logging.LogRecord(__name__, logging.ERROR, __file__, 0, message, None, info))

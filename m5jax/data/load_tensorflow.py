"""TensorFlow for the input pipeline only: loaded without its start-up chatter, and kept off the accelerators."""

import functools
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@functools.cache
def load_tensorflow() -> None:
    """Imports TensorFlow and hides GPUs from it, so that it takes none of the memory that JAX needs.

    What its C++ start-up writes to standard error (no setting silences it) is shown only if loading fails. Notebooks
    call it before they import tasks; one that has TensorFlow already has seen these lines, and GPUs are hidden still.
    """
    with _standard_error_on_failure():
        import tensorflow as tf
        import tensorflow_text  # noqa: F401  writes its own start-up lines

        # TensorFlow that has computed something has its devices, and keeps them.
        with suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")


@contextmanager
def _standard_error_on_failure() -> Iterator[None]:
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        except BaseException:
            aside.seek(0)
            os.write(original, aside.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)

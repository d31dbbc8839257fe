"""Apache Beam and what comes with it: an optional part of m5jax, loaded without its start-up chatter."""

import importlib
import logging

from m5jax.errors import UserError

_PACKAGES = ("apache_beam", "datasketch", "lingua")


def load_beam() -> None:
    """Imports what preparing data needs; raises UserError where it is not installed."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # Beam warns of optional packages of one cloud
    try:
        for package in _PACKAGES:
            importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise UserError(f"the package {error.name} is not installed; pip install 'm5jax[prepare]' brings it") from error
    finally:
        logging.disable(disabled)

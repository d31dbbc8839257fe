"""Several processes that train one model: they find each other, compare what must be equal, and fail together.

Values go through the key-value store of `jax.distributed`, which works before devices are known and where they differ.
"""

import itertools
import json
import logging
import os
import platform
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import jax

# JAX offers its key-value store in no public place; Orbax reads it from here too.
from jax._src.distributed import global_state

from m5jax.errors import UserError

LIBRARIES = ("m5jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint")
CONNECT_SECONDS = 600
WAIT_SECONDS = 3600  # for the slowest process to open its data

logger = logging.getLogger(__name__)

_exchanges = itertools.count()


def join_processes(coordinator: str, count: int, index: int) -> None:
    """Makes this process one of several; call it before anything asks JAX for devices.

    Args:
      coordinator: `HOST:PORT` of process 0, reached by all.
      count: processes of the run.
      index: of this one, from 0.

    Raises:
      UserError: the others are not reached, or have other versions of the libraries.
    """
    if not 0 <= index < count:
        raise UserError(f"--process={index} is none of {count} processes; allowed: 0 to {count - 1}")
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal():
        raise UserError(f"--coordinator={coordinator} is not of the form HOST:PORT")
    _initialize(coordinator, count, index, cluster_detection_method="deactivate")


def join_cluster() -> None:
    """Makes this process one of those that JAX finds by itself: of SLURM, Open MPI, Kubernetes, a TPU VM or GKE.

    Raises:
      UserError: it finds none, or as `join_processes`.
    """
    # A process a host has all of its devices, where JAX would take one a process under SLURM and Open MPI.
    devices: list[int] | None = None if "JAX_LOCAL_DEVICE_IDS" in os.environ else []
    _initialize(None, None, None, local_device_ids=devices)


def _initialize(coordinator: str | None, count: int | None, index: int | None, **settings: Any) -> None:
    try:
        jax.distributed.initialize(coordinator, count, index, initialization_timeout=CONNECT_SECONDS, **settings)
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"cannot join the other processes ({reason}); name them: --coordinator=HOST:PORT --processes=N --process=I"
        ) from error
    check_alike(versions(LIBRARIES))


def versions(libraries: Sequence[str]) -> dict[str, str]:
    """Returns the versions of Python and of installed libraries."""
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in libraries}


def exchange(own: Any) -> list[Any]:
    """Returns what each process gave, in their order; all call it equally often. `own` is what JSON can hold.

    Raises:
      UserError: another process did not answer.
    """
    if not jax.distributed.is_initialized():
        return [own]
    client, call = global_state.client, next(_exchanges)
    assert client is not None
    client.key_value_set(f"m5jax/{call}/{global_state.process_id}", json.dumps(own))
    found = []
    for index in range(global_state.num_processes):
        try:
            found.append(json.loads(client.blocking_key_value_get(f"m5jax/{call}/{index}", WAIT_SECONDS * 1000)))
        except RuntimeError as error:
            raise UserError(f"process {index} does not answer: {str(error).splitlines()[0]}") from error
    return found


def check_alike(values: Mapping[str, str]) -> None:
    """Raises UserError in every process where one has another value, naming the value and the hosts."""
    rows = exchange({"host": _host(), "values": dict(values)})
    for name in values:
        hosts: dict[str, list[str]] = {}
        for row in rows:
            hosts.setdefault(row["values"].get(name, "nothing"), []).append(row["host"])
        if len(hosts) > 1:
            raise UserError(f"the processes differ in {name}: {'; '.join(map(_describe, hosts.items()))}")


@contextmanager
def failing_together() -> Iterator[None]:
    """Where its body fails in one process, it fails in all, with the host's name and its line."""
    try:
        yield
    except Exception as error:
        if (global_state.num_processes or 1) > 1:
            logger.error("%s", error)  # now: the others may take long to get here
        exchange({"host": _host(), "error": str(error).partition("\n")[0] or type(error).__name__})
        raise
    for row in exchange({"host": _host(), "error": ""}):
        if row["error"]:
            raise UserError(f"{row['host']}: {row['error']}")


def _host() -> str:
    return f"{socket.gethostname()} (process {global_state.process_id})"


def _describe(value_and_hosts: tuple[str, list[str]]) -> str:
    value, hosts = value_and_hosts
    more = f" and {len(hosts) - 3} more" if len(hosts) > 3 else ""
    return f"{value} on {', '.join(hosts[:3])}{more}"

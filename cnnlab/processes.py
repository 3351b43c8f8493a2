"""The processes of one run over several hosts: how they join, and agree."""

import contextlib
import importlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from cnnlab.watch import Watch, exit_late_on_abort


def first_process() -> bool:
    """True where this process is the one that writes files."""
    return jax.process_index() == 0


def any_process(flag: bool) -> bool:
    """True where ``flag`` is set on any process: the same answer on all."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.int32(flag))))


def wait_for_all(name: str) -> None:
    """Waits until every process has come here; ``name`` says where in messages."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def from_first_process(number: int) -> int:
    """The number that the first process has."""
    if jax.process_count() == 1:
        return number
    return int(multihost_utils.broadcast_one_to_all(np.int32(number)))


def join(
    coordinator: str | None,
    processes: int | None,
    process_id: int | None,
    *,
    seconds: int = 300,
) -> str | None:
    """Joins the other processes of a run over several hosts.

    Args:
      coordinator: "HOST:PORT" of the first process, "auto" where the cluster says it (SLURM, TPU
        pods …), or None for a run of one process.
      processes: how many there are; not with "auto".
      process_id: which one this is, from 0; not with "auto".
      seconds: JAX's own time-out, after which it ends the process from C++ with a trace.

    Returns:
      The host of the first process; None where there is only one.

    Raises:
      ValueError: for options that lack others, or several virtual CPU devices.
    """
    if coordinator is None:
        raise ValueError("processes and process_id need --coordinator HOST:PORT (or auto).")
    if coordinator == "auto":
        jax.distributed.initialize(initialization_timeout=seconds)
    elif processes is None or process_id is None:
        raise ValueError("--coordinator HOST:PORT needs --processes and --process-id as well.")
    else:
        jax.distributed.initialize(
            coordinator,
            num_processes=processes,
            process_id=process_id,
            initialization_timeout=seconds,
        )
    check_devices(jax.default_backend(), jax.process_count(), jax.local_device_count())
    return _host_of_first(coordinator) if jax.process_count() > 1 else None


def watch_others(first: str, lost: Callable[[int], Any]) -> Watch:
    """Watches the other processes of this one's run; all of them must call it.

    Args:
      first: the host of the first one, as of ``join``.
      lost: called once, in a thread, with the number of a process that is gone.
    """
    exit_late_on_abort()
    watch = Watch(jax.process_index(), lost)
    port = from_first_process(watch.listen() if first_process() else 0)
    if not first_process():
        with contextlib.suppress(OSError):  # a firewall: JAX's own heartbeat remains
            watch.connect(first, port)
    return watch


def _host_of_first(coordinator: str) -> str:
    """The host of the first process, which the cluster says where ``coordinator`` is "auto"."""
    if coordinator == "auto":  # JAX has no public name for it
        state = importlib.import_module("jax._src.distributed").global_state
        coordinator = getattr(state, "coordinator_address", None) or ""
    return coordinator.rpartition(":")[0].strip("[]")


def check_devices(platform: str, processes: int, local_devices: int) -> None:
    """Refuses several virtual CPU devices in each of several processes.

    XLA's CPU collectives (jaxlib 0.10.2, gloo) then hang at times, or give sums that are a little
    wrong and different in every run; with one device a process they are right every time.

    Raises:
      ValueError: if that is asked for.
    """
    if platform == "cpu" and processes > 1 and local_devices > 1:
        raise ValueError(
            f"several processes on CPUs must have one device each, this one has {local_devices}. "
            "Take --xla_force_host_platform_device_count out of XLA_FLAGS, or start more processes."
        )

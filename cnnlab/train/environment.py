"""The environment that a run had, and what of it a bitwise resume depends on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from typing import Any

import jax

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "cnnlab")


def environment(
    folder: str | os.PathLike[str] | None = None, xla_flags: str | None = None
) -> dict[str, Any]:
    """The environment that a run's numbers depend on besides its config, as a JSON-ready dict.

    Starts the JAX backend where it is not running yet.

    Args:
      folder: a folder in the git working tree that the code comes from; None leaves git out.
      xla_flags: the process's XLA_FLAGS, which the caller has read.

    Returns:
      ``python``, ``system``, ``versions`` (package -> version, None where not installed),
      ``platform`` ("cpu", "gpu", "tpu"), ``device_kind``, ``device_count`` (of all processes),
      ``process_count``, ``cpu_count`` (cores that this process may use), ``xla_flags``,
      ``jax_config`` and ``git`` (``commit`` and ``dirty``: tracked files were changed; None
      where git, the repository or a first commit is missing).
    """
    device = jax.devices()[0]
    config: Any = jax.config  # its attributes are made at run time
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {name: _version(name) for name in _PACKAGES},
        "platform": device.platform,
        "device_kind": device.device_kind,
        "device_count": jax.device_count(),
        "process_count": jax.process_count(),
        "cpu_count": _usable_cpus(),
        "xla_flags": xla_flags,
        "jax_config": {
            "x64": bool(config.jax_enable_x64),
            "default_matmul_precision": config.jax_default_matmul_precision,
            "prng_impl": str(config.jax_default_prng_impl),
            "threefry_partitionable": getattr(config, "jax_threefry_partitionable", None),
        },
        "git": None if folder is None else _git(folder),
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names what differs between two environments in the fields that bitwise resume depends on.

    Args:
      before: what `environment` returned when the run started.
      now: what it returns today.

    Returns:
      One line a difference, such as "CPU cores: 8 then, 2 now"; empty where a resumed run can
      be expected to end in the same bits.
    """
    lines = []
    for name, keys in (
        ("jaxlib", ("versions", "jaxlib")),
        ("device kind", ("device_kind",)),
        ("device count", ("device_count",)),
        ("CPU cores", ("cpu_count",)),
        ("XLA flags", ("xla_flags",)),
        ("x64", ("jax_config", "x64")),
        ("matmul precision", ("jax_config", "default_matmul_precision")),
        ("PRNG", ("jax_config", "prng_impl")),
        ("threefry partitionable", ("jax_config", "threefry_partitionable")),
    ):
        then, today = _field(before, keys), _field(now, keys)
        if name == "XLA flags":
            then, today = " ".join((then or "").split()), " ".join((today or "").split())
        if then != today:
            lines.append(f"{name}: {_text_or_none(then)} then, {_text_or_none(today)} now")
    return lines


def _field(value: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _text_or_none(value: Any) -> str:
    return "none" if value is None or value == "" else str(value)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _usable_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _git(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    def git(*arguments: str) -> str:
        # Without optional locks `status` leaves the repository's index alone.
        command = ["git", "--no-optional-locks", "-C", os.fspath(folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        return done.stdout.strip()

    try:
        commit = git("rev-parse", "--verify", "HEAD")
        return {"commit": commit, "dirty": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None

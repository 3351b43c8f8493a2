"""Shared by tests: a tiny recipe and its batches, committed numbers, more devices than one."""

import dataclasses
import functools
import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import augment, models, optim
from cnnlab.data.batches import Batch
from cnnlab.keys import run_key
from cnnlab.train import Recipe, TrainState, init_state
from experiments import train

TESTS = pathlib.Path(__file__).parent

# Compiled in a fraction of the time, to slower code, here and in the processes that tests start;
# XLA reads this when it compiles for the first time.
QUICK = ("--xla_backend_optimization_level=0", "--xla_cpu_use_fusion_emitters=false")


def known(flag: str) -> bool:
    """True where this jaxlib has the flag: an unknown one would abort the process."""
    parse = "from jaxlib import xla_client; xla_client.CompileOptions()"
    environment = {**os.environ, "XLA_FLAGS": flag}
    done = subprocess.run([sys.executable, "-c", parse], env=environment, capture_output=True)
    return done.returncode == 0


os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *filter(known, QUICK)]).strip()


@pytest.fixture(scope="session", autouse=True)
def signals_of_a_terminal() -> None:
    """No signal is ignored: started in the background, or by nohup, some would be, here and in the
    processes that tests start."""
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def quick_jit() -> Callable[..., Any]:
    """``jax.jit`` that compiles in a fraction of the time, to slower code."""
    return functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@pytest.fixture(scope="session")
def tiny() -> Recipe:
    """A narrow residual net with BatchNorm for images of 8 x 8 x 1 and three classes."""
    network = models.create("resnet8", num_classes=3, width=2)
    return Recipe(network, optim.sgd(0.1), augment.normalize((128.0,), (64.0,)))


@pytest.fixture(scope="session")
def tiny_state(tiny: Recipe, quick_jit: Callable[..., Any]) -> TrainState:
    """A fresh state of ``tiny``."""
    return quick_jit(lambda key: init_state(tiny, key, (8, 8, 1)))(run_key(0))


@pytest.fixture(scope="session")
def make_batch() -> Callable[..., Batch]:
    """``make_batch(examples, shape=(8, 8, 1), classes=3, seed=0)``: random pixels and labels."""

    def make(
        examples: int, shape: tuple[int, ...] = (8, 8, 1), classes: int = 3, seed: int = 0
    ) -> Batch:
        generator = np.random.Generator(np.random.PCG64(seed))
        images = generator.integers(0, 256, (examples, *shape), dtype=np.uint8)
        labels = generator.integers(0, classes, examples, dtype=np.int32)
        return Batch(jnp.asarray(images), jnp.asarray(labels), jnp.ones(examples))

    return make


@pytest.fixture(scope="session")
def reference() -> Callable[[str], tuple[ModuleType, dict[str, Any]]]:
    """``reference(name)``: the module ``references/name.py`` and the numbers that it wrote."""

    def load(name: str) -> tuple[ModuleType, dict[str, Any]]:
        path = TESTS / "references" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"reference_{name}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module, json.loads(path.with_suffix(".json").read_text())

    return load


@pytest.fixture(scope="session")
def device_environment() -> Callable[[int], dict[str, str]]:
    """``device_environment(count)``: this environment, but with so many virtual CPU devices."""

    def environment(count: int) -> dict[str, str]:
        flag = "--xla_force_host_platform_device_count"
        flags = [f for f in os.environ.get("XLA_FLAGS", "").split() if not f.startswith(flag)]
        return {
            **os.environ,
            "XLA_FLAGS": " ".join([*flags, f"{flag}={count}"]),
            "JAX_PLATFORMS": "cpu",
        }

    return environment


@pytest.fixture(scope="session")
def run_on_devices(device_environment: Callable[[int], dict[str, str]]) -> Callable[..., Any]:
    """``run_on_devices(count, program, *arguments)``: what a program prints, with so many devices.

    ``program`` is the path of a Python file or Python source; it runs in a process of its own,
    from the root of the repository, with ``count`` virtual CPU devices, and prints one line of
    JSON last. Everything else in the environment stays.
    """

    def run(count: int, program: str | pathlib.Path, *arguments: str, timeout: float = 300) -> Any:
        command = [str(program)] if isinstance(program, pathlib.Path) else ["-c", program]
        done = subprocess.run(
            [sys.executable, *command, *arguments],
            cwd=TESTS.parent,
            env=device_environment(count),
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="session")
def tiny_config():
    """A run of two small networks that takes a few seconds."""
    return train.Config(
        dataset="synthetic:90:6x6x1:3",
        model="mlp",
        model_options=("widths=(8,)",),
        epochs=2,
        batch_size=15,
        seeds=2,
        quiet=True,
    )


@pytest.fixture(scope="session")
def finished(tmp_path_factory, tiny_config):
    """The directory and the result of such a run."""
    directory = tmp_path_factory.mktemp("runs") / "run"
    return directory, train.run(dataclasses.replace(tiny_config, run_dir=directory))

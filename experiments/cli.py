"""The command line: what must stand before jax starts, options, and messages instead of traces.

``python -m experiments.NAME`` and (installed) ``cnnlab NAME`` are the same. Importing this module
imports no jax, so that ``--help`` answers at once; the experiment itself is imported after the
options are known.
"""

import ast
import contextlib
import importlib
import importlib.metadata
import logging
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cnnlab.files import write_bytes
from cnnlab.signals import ExitSignals, take_signals_back
from cnnlab.spelling import one_line, unknown
from cnnlab.studies.host import Host
from cnnlab.studies.run_table import run_table
from cnnlab.terminal import make_forgiving, show_messages_only
from cnnlab.watch import Watch

from .options import option_value, parse

__all__ = ["door", "host", "lazy_run", "main", "option_value", "parse", "prepare"]

PACKAGE = __package__ or "experiments"
"""``experiments`` in a checkout; ``cnnlab.experiments`` where it is installed."""

FOLDER = pathlib.Path(__file__).resolve().parent

GROUPS = {
    "Train and use networks": ("train", "evaluate", "classify", "export", "features", "average"),
    "Initialisation, depth, dropout": ("init_study", "depth", "deepening", "dropout"),
    "Ensembles and students": (
        *("ensemble", "snapshot", "ensemble_study", "distill", "redundancy"),
    ),
    "Transfer": ("finetune", "probe", "transfer_grid", "transferability"),
    "Unsupervised learning": ("autoencoder", "pretrain"),
    "Dense prediction": ("segment", "detect"),
    "Results": ("results",),
}
"""The experiments as ``cnnlab`` lists them; those of no group follow."""

# XLA's CPU back end sends convolutions to a library that hardly uses a second core; this gives them
# back to Eigen: 1.3 times the speed for a training step of a residual net.
_CPU_FLAG = "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution"

_LIMITS = {
    "CNNLAB_UNPACKED_BYTES": ("cnnlab.limits", "unpacked_bytes"),
    "CNNLAB_ARRAYS": ("cnnlab.limits", "arrays"),
    "CNNLAB_IMAGE_PIXELS": ("PIL.Image", "MAX_IMAGE_PIXELS"),
}

_CACHE = "CNNLAB_CACHE"  # where compiled programs are kept; an empty value keeps none


def main(package: str | None, arguments: Sequence[str] | None = None) -> None:
    """Runs an experiment as its command line says.

    Args:
      package: of the experiment, such as "experiments.train".
      arguments: of the command line; the process's own by default.
    """
    assert package is not None
    _opened.clear()
    make_forgiving()
    show_messages_only()
    with ExitSignals(lambda number: _say_last(package, number)):
        prepare()
        with exit_with_message(package):
            module = importlib.import_module(package)
            words = sys.argv[1:] if arguments is None else arguments
            config = parse(module.Config, words, module.__doc__, f"python -m {package}")
            if hasattr(config, "coordinator"):
                join_processes(config)
            module.run(config)
            if _watch:
                _watch[0].leave()


_opened: list[pathlib.Path] = []  # the run directory of this process, once it has one
_watch: list[Watch] = []  # over the other processes of this one's run, where there are some


def host() -> Host:
    """The process, as a study sees it; call it after ``prepare``."""
    flags = os.environ.get("XLA_FLAGS")
    return Host(print, time.perf_counter, time.time, flags, FOLDER, _opened.append)


def _go_on(package: str, directory: object) -> str:
    return f"Go on with:  python -m {package} --resume {directory}"


def _say_last(package: str, number: int) -> None:
    """The last line of a process that a signal ends outside of training."""
    saved = f"\n{_go_on(package, _opened[-1])}" if _opened else ""
    text = f"stopped by {signal.Signals(number).name}.{saved}\n"
    encoding = getattr(sys.__stderr__, "encoding", None) or "ascii"
    where = sys.__stderr__.fileno() if sys.__stderr__ else 2
    os.write(where, text.encode(encoding, "backslashreplace"))


def lazy_run(package: str) -> Callable[[Any], Any]:
    """The function ``run(config)`` of an experiment, whose module is imported when it is called.

    Args:
      package: of the experiment, such as "experiments.train".
    """

    def run(config: Any) -> Any:
        """Runs the experiment, see its module ``experiment``."""
        return importlib.import_module(f"{package}.experiment").run(config)

    return run


@contextlib.contextmanager
def exit_with_message(package: str) -> Iterator[None]:
    """Ends the program with one message where this project stopped it or refused something.

    An error of the file system is what it is wherever it was raised; any other that was raised
    outside of this project keeps its trace: it is a bug.

    Args:
      package: of the experiment, such as "experiments.train", for the advice how to resume.
    """
    try:
        yield
    except KeyboardInterrupt:
        _say_last(package, signal.SIGINT)
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        if _watch:
            _exit_of_several(error)
        directory = getattr(error, "directory", None)
        if directory is not None:  # train.recorder.Interrupted; its class would need jax
            print(f"{error}\n{_go_on(package, directory)}", file=sys.stderr)
            sys.exit(128 + (getattr(error, "signal", None) or signal.SIGTERM))
        if not _is_refusal(error):
            raise
        sys.exit(f"error: {one_line(str(error))}")


def _is_refusal(error: Exception) -> bool:
    """True for what this project refused and for errors of the file system; the others are bugs."""
    if isinstance(error, OSError):
        return True
    library = pathlib.Path(importlib.import_module("cnnlab").__file__ or "").resolve().parent
    raised_in = pathlib.Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    expected = isinstance(error, ValueError | TypeError | RuntimeError | ArithmeticError)
    return expected and any(raised_in.is_relative_to(own) for own in (library, FOLDER))


def _exit_of_several(error: Exception) -> None:
    """Ends one of several processes after an error; an interruption, which all share, goes on.

    The error may be that another one is gone, which ``_watch`` then says in a moment; and JAX would
    wait for the others at the end.
    """
    if hasattr(error, "directory"):
        _watch[0].leave()
        return
    time.sleep(3)
    _watch[0].stop()
    if _is_refusal(error):
        print(f"error: {one_line(str(error))}", file=sys.stderr)
    else:
        traceback.print_exception(error)
    os._exit(1)


def _end_without(number: int) -> None:
    """Ends the process as another one of its run is gone."""
    time.sleep(1)  # whatever JAX has to say about it comes first
    again = f" with --resume {_opened[-1]}" if _opened else ""
    os.write(2, f"process {number} is gone; start all again{again}\n".encode())
    os._exit(1)


# Before jax is imported ----------------------------------------------------------------------


def prepare() -> None:
    """Sets what must stand in the environment before jax is imported. Call it first.

    XLA's flag for quick convolutions on a CPU is added to XLA_FLAGS where this jaxlib knows it
    (asked of a process of its own, once for each jaxlib, and remembered), unless XLA_FLAGS speaks
    of it already. Compiled programs are kept between runs, in ``CNNLAB_CACHE`` (~/.cache/cnnlab by
    default) or wherever JAX_COMPILATION_CACHE_DIR says; not where the process has several CPU
    devices: a program with collectives that comes from the cache hangs there (jaxlib 0.10.2). What
    a file may ask of memory is set by CNNLAB_UNPACKED_BYTES, CNNLAB_ARRAYS and CNNLAB_IMAGE_PIXELS,
    see ``cnnlab.limits``.
    """
    _set_limits()
    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax warns of what it is asked to do
    flags = os.environ.get("XLA_FLAGS", "")
    cache = cache_folder()
    if "xla_cpu_experimental_ynn_fusion_type" not in flags and _knows_flag(cache):
        os.environ["XLA_FLAGS"] = f"{flags} {_CPU_FLAG}".strip()
    if several_cpu_devices(os.environ):
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    elif cache is not None:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache / "xla"))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")


def _set_limits() -> None:
    # Pillow warns where cnnlab.data refuses.
    warnings.filterwarnings("ignore", r"Image size \(\d+ pixels\) exceeds limit")
    for variable, (module, attribute) in _LIMITS.items():
        value = os.environ.get(variable, "")
        if value and not value.isdecimal():
            sys.exit(f"error: {variable} must be a whole number, got {value!r}.")
        if value:
            setattr(importlib.import_module(module), attribute, int(value))


def several_cpu_devices(environment: Mapping[str, str]) -> bool:
    """True where the process is told to have several devices on a CPU, which it may use."""
    platforms = environment.get("JAX_PLATFORMS", "")
    if platforms and "cpu" not in platforms:
        return False
    flag = r"--xla_force_host_platform_device_count[= ]\s*(\d+)"
    counts = re.findall(flag, environment.get("XLA_FLAGS", ""))
    counts.append(environment.get("JAX_NUM_CPU_DEVICES", ""))
    return any(count.isdecimal() and int(count) > 1 for count in counts)


def cache_folder() -> pathlib.Path | None:
    """The folder where compiled programs are kept, or None, such as for a user without a home."""
    chosen = os.environ.get(_CACHE, "~/.cache/cnnlab")
    try:
        return pathlib.Path(chosen).expanduser() if chosen else None
    except RuntimeError:  # neither HOME nor an entry in the passwd file
        return None


def _knows_flag(cache: pathlib.Path | None) -> bool:
    """True where this jaxlib has the flag: an unknown one would abort the process."""
    try:
        version = importlib.metadata.version("jaxlib")
    except importlib.metadata.PackageNotFoundError:
        return False
    memory = None if cache is None else cache / f"flag-{version}"
    with contextlib.suppress(OSError):
        # Anything else, such as what a full disk left, is asked again.
        if memory is not None and memory.read_bytes() in (b"known", b"unknown"):
            return memory.read_bytes() == b"known"
    probe = "from jaxlib import xla_client; xla_client.CompileOptions()"  # parses XLA_FLAGS
    environment = {**os.environ, "XLA_FLAGS": _CPU_FLAG, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", probe], env=environment, capture_output=True, check=False
    )
    known = done.returncode == 0
    with contextlib.suppress(OSError):
        if memory is not None:
            memory.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(memory, b"known" if known else b"unknown")
    return known


# Several hosts -------------------------------------------------------------------------------


def join_processes(config: Any) -> None:
    """Joins the other processes of a run over several hosts, and watches them.

    Args:
      config: with ``coordinator``, ``processes`` and ``process_id`` as of
        ``cnnlab.processes.join``; after ``join_timeout`` seconds a process that still waits for
        others is ended.

    Raises:
      ValueError: for options that do not fit each other.
    """
    coordinator, count, process_id = config.coordinator, config.processes, config.process_id
    timeout = config.join_timeout
    if (coordinator, count, process_id) == (None, None, None):
        return
    if timeout < 1:
        raise ValueError(f"--join-timeout must be at least 1 second, got {timeout}.")
    processes = importlib.import_module("cnnlab.processes")
    # JAX waits in C++ for whatever is missing, and ends the process from there.
    alone = threading.Timer(timeout, _end_alone, (coordinator, process_id, timeout))
    alone.daemon = True
    alone.start()
    try:
        first = processes.join(coordinator, count, process_id, seconds=timeout + 60)
        if first is not None:
            _watch[:] = [processes.watch_others(first, _end_without)]
    finally:
        alone.cancel()
        take_signals_back()


def _end_alone(coordinator: str, process_id: int | None, timeout: int) -> None:
    """Ends a process that has waited for the others in vain."""
    which = "a process" if process_id is None else f"process {process_id}"
    text = (
        f"error: {which} has waited {timeout} s for the others at {coordinator}, and not all of "
        "them came: start every process within that time, or give a longer --join-timeout.\n"
    )
    os.write(2, text.encode("ascii", "replace"))
    os._exit(1)


# The command ``cnnlab`` ----------------------------------------------------------------------


def door(arguments: Sequence[str] | None = None) -> None:
    """The command ``cnnlab``: lists the experiments, runs one of them, or lists runs or networks.

    Args:
      arguments: of the command line; the process's own by default.
    """
    make_forgiving()
    words = list(sys.argv[1:] if arguments is None else arguments)
    name, others = (words[0], words[1:]) if words else ("", [])
    names = [each for group in grouped_experiments().values() for each in group]
    if name in ("", "-h", "--help"):
        print(list_experiments())
    elif name == "runs":
        with exit_with_message(PACKAGE):
            print("\n".join(run_table(pathlib.Path(others[0] if others else "runs"))))
    elif name == "models":
        with exit_with_message(PACKAGE):
            print("\n".join(_models(others)))
    elif name in names:
        main(f"{PACKAGE}.{name}", others)
    else:
        sys.exit(f"error: {unknown('experiment', name, (*names, 'runs', 'models'))}")


def _models(names: Sequence[str]) -> list[str]:
    """The zoo as lines of text, or the networks of these names."""
    listing = importlib.import_module("cnnlab.models.listing")  # which needs jax
    if not names:
        return [*listing.zoo_lines(), "", "cnnlab models NAME … shows options and parameters."]
    return [line for name in names for line in listing.model_lines(name)]


def grouped_experiments() -> dict[str, tuple[str, ...]]:
    """The names of all experiments by group."""
    there = sorted(path.parent.name for path in FOLDER.glob("*/__main__.py"))
    groups = {group: tuple(n for n in names if n in there) for group, names in GROUPS.items()}
    listed = {name for names in groups.values() for name in names}
    groups["Others"] = tuple(name for name in there if name not in listed)
    return {group: names for group, names in groups.items() if names}


def list_experiments() -> str:
    """All experiments, grouped, a line each: the first line of their docstrings."""
    lines = [
        "cnnlab NAME [options], or cnnlab NAME --help; cnnlab runs [DIR] lists runs,",
        "cnnlab models [NAME …] the networks of the zoo.",
        "",
    ]
    for group, names in grouped_experiments().items():
        lines.append(group)
        for name in names:
            source = (FOLDER / name / "__init__.py").read_text(encoding="utf-8")
            first = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
            lines.append(f"  {name:<16} {first}")
        lines.append("")
    return "\n".join(lines).rstrip()

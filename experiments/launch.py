"""What an entry module does before jax is imported, and what it says when something is wrong.

The library sets no environment; entry modules may. Importing this module imports no jax.
"""

import contextlib
import logging
import os
import pathlib
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence

# XLA's CPU back end sends convolutions to a library that hardly uses a second core; this gives them
# back to Eigen: 1.3 times the speed for a training step of a residual net.
_CPU_FLAG = "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution"

_CACHE = "CNNLAB_CACHE"  # where compiled programs are kept; an empty value keeps none


def prepare() -> None:
    """Sets what must stand in the environment before jax is imported. Call it first.

    XLA's flag for quick convolutions on a CPU is added to XLA_FLAGS where this jaxlib knows it
    (asked of a process of its own, once for each jaxlib, and remembered), unless XLA_FLAGS speaks
    of it already. Compiled programs are kept between runs, in ``CNNLAB_CACHE`` (~/.cache/cnnlab by
    default) or wherever JAX_COMPILATION_CACHE_DIR says.
    """
    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax warns of what it is asked to do
    flags = os.environ.get("XLA_FLAGS", "")
    cache = cache_folder()
    if "xla_cpu_experimental_ynn_fusion_type" not in flags and _knows_flag(cache):
        os.environ["XLA_FLAGS"] = f"{flags} {_CPU_FLAG}".strip()
    if cache is not None:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache / "xla"))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")


def cache_folder() -> pathlib.Path | None:
    """Where compiled programs are kept, or None."""
    chosen = os.environ.get(_CACHE)
    if chosen == "":
        return None
    return pathlib.Path(chosen).expanduser() if chosen else pathlib.Path.home() / ".cache/cnnlab"


def join_processes(coordinator: str | None, processes: int | None, process_id: int | None) -> None:
    """Joins the other processes of a run over several hosts.

    Args:
      coordinator: "HOST:PORT" of the first process, "auto" where the cluster says it (SLURM, TPU
        pods …), or None for a run of one process.
      processes: how many there are; not with "auto".
      process_id: which one this is, from 0; not with "auto".
    """
    if coordinator is None:
        if processes is not None or process_id is not None:
            raise ValueError("processes and process_id need --coordinator HOST:PORT (or auto).")
        return
    import jax

    if coordinator == "auto":
        jax.distributed.initialize()
    elif processes is None or process_id is None:
        raise ValueError("--coordinator HOST:PORT needs --processes and --process-id as well.")
    else:
        jax.distributed.initialize(coordinator, num_processes=processes, process_id=process_id)
    check_devices(jax.default_backend(), jax.process_count(), jax.local_device_count())


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


def option_value(arguments: Sequence[str], option: str) -> str | None:
    """What stands behind ``option`` on a command line (``--option X``, ``--option=X``), or None."""
    for index, argument in enumerate(arguments):
        if argument == option and index + 1 < len(arguments):
            return arguments[index + 1]
        if argument.startswith(f"{option}="):
            return argument.partition("=")[2]
    return None


@contextlib.contextmanager
def speaking_plainly(module: str) -> Iterator[None]:
    """Ends the program with one message where this project stopped it or found something wrong.

    An error that was raised anywhere else keeps its trace: it is a bug, and the trace mends it.

    Args:
      module: the entry module, such as "experiments.train", for the advice how to resume.
    """
    try:
        yield
    except KeyboardInterrupt:
        sys.exit("stopped by Ctrl-C; whatever was saved before can be resumed.")
    except Exception as error:
        directory = getattr(error, "directory", None)
        expected = isinstance(
            error, ValueError | TypeError | OSError | RuntimeError | ArithmeticError
        )
        if directory is not None:  # train.recorder.Interrupted; its class would need jax
            print(f"{error}\nGo on with:  python -m {module} --resume {directory}", file=sys.stderr)
            sys.exit(128 + (getattr(error, "signal", None) or 0))
        here = pathlib.Path(__file__).resolve().parent
        ours = here.parent / "cnnlab", here
        frames = traceback.extract_tb(error.__traceback__)
        raised_in = pathlib.Path(frames[-1].filename)
        if not expected or not any(raised_in.is_relative_to(folder) for folder in ours):
            raise
        sys.exit(f"error: {error}")


def _knows_flag(cache: pathlib.Path | None) -> bool:
    """Whether this jaxlib has the flag: an unknown one would abort the process."""
    import importlib.metadata

    try:
        version = importlib.metadata.version("jaxlib")
    except importlib.metadata.PackageNotFoundError:
        return False
    memory = None if cache is None else cache / f"flag-{version}"
    with contextlib.suppress(OSError):
        if memory is not None and memory.is_file():
            return memory.read_text() == "known"
    probe = "from jaxlib import xla_client; xla_client.CompileOptions()"  # parses XLA_FLAGS
    environment = {**os.environ, "XLA_FLAGS": _CPU_FLAG, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", probe], env=environment, capture_output=True, check=False
    )
    known = done.returncode == 0
    with contextlib.suppress(OSError):
        if memory is not None:
            memory.parent.mkdir(parents=True, exist_ok=True)
            memory.write_text("known" if known else "unknown")
    return known

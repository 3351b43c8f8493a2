"""Reads hostile files, each in a process of its own, and says whether anything was harmed.

    python -m benchmarks.hostile_files
    python -m benchmarks.hostile_files --write docs/robustness.md
    python -m benchmarks.hostile_files --only safetensors

Images, data sets and weights that are made to run a program, to take all memory or time, or to be
read as something else. Each is read through the public reader in a process that is forked for it.
It held where nothing was started or unpickled (Python's audit events are watched, and a file that
the exploits would write), memory stayed under 1 GB and the processor's time under 10 s, and the
error is one line that names the file.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from typing import Any

from benchmarks.hostile import data, images, weights
from benchmarks.hostile.cases import CANARY, Case
from benchmarks.hostile.data import idx
from benchmarks.robustness_page import write_section

MEMORY = 1.0  # GB
SECONDS = 10.0
_HARD = 4 * 2**30  # address space beyond that at the start: past it, allocation fails
_HANGS = 120  # seconds of the clock: something else, such as a pipe, is waited for
_LONGEST = 600  # letters of a message
_ALARMING = (
    *("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect"),
    *("pickle.find_class", "ctypes.dlopen", "os.remove", "os.rename", "shutil.rmtree"),
)


@dataclasses.dataclass
class Row:
    """What came of one file: "held", or what broke; its message, seconds and GB of memory."""

    case: Case
    broke: list[str]
    read: bool
    message: str
    seconds: float
    gigabytes: float


def read(case: Case, path: pathlib.Path) -> object:
    """Reads a hostile file as a user's program would."""
    from cnnlab import data as cnnlab_data
    from cnnlab.data import record
    from cnnlab.models import weights as cnnlab_weights

    readers: dict[str, Any] = {
        "image": lambda: cnnlab_data.read_image(path, 224),
        "folder": lambda: cnnlab_data.load("folder", path.parents[2], image_size=8),
        "mnist": lambda: cnnlab_data.load("mnist", path.parent),
        "cifar10": lambda: cnnlab_data.load("cifar10", path.parent),
        "npz": lambda: cnnlab_data.load("npz", path),
        "record": lambda: record.DataRecord.read(path),
        "weights": lambda: cnnlab_weights.read(path),
        "program": lambda: cnnlab_weights.load_exported(path),
    }
    return readers[case.reader]()


def place(case: Case, folder: pathlib.Path) -> pathlib.Path:
    """Writes a hostile file, with what its reader wants beside it."""
    if case.reader == "folder":
        import PIL.Image

        for number, name in enumerate(("a", "b")):
            (folder / "train" / name).mkdir(parents=True)
            for i in range(4):
                picture = PIL.Image.effect_noise((8, 8), 50 + number)
                picture.save(folder / "train" / name / f"{i}.png")
        path = folder / "train" / "a" / case.file
    else:
        path = folder / case.file
    if case.reader == "mnist":
        for part in ("train", "t10k"):
            (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(10, 28, 28) + bytes(7840))
            (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(10) + bytes(range(10)))
        (folder / path.stem).unlink(missing_ok=True)  # of which this is the packed one
    case.make(path)
    return path


def _child(case: Case, path: pathlib.Path, answer: int) -> None:
    """Reads the file, and writes down what happened; never returns."""
    alarms: list[str] = []
    os.chdir(path.parent)
    now = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + _HARD, now + _HARD))
    resource.setrlimit(resource.RLIMIT_CPU, (2 * int(SECONDS), 2 * int(SECONDS)))
    signal.alarm(_HANGS)
    sys.addaudithook(lambda event, _: alarms.append(event) if event in _ALARMING else None)
    result: dict[str, Any] = {"error": None}
    try:
        read(case, path)
    except BaseException as error:
        here = pathlib.Path(__file__).resolve().parents[1] / "cnnlab"
        raised = pathlib.Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        own = isinstance(error, OSError) or (
            isinstance(error, ValueError | RuntimeError | TypeError) and raised.is_relative_to(here)
        )
        result = {"error": type(error).__name__, "message": str(error)[:2000], "own": own}
    result |= {"alarms": alarms}
    os.write(answer, json.dumps(result).encode())
    os._exit(0)


def attempt(case: Case, folder: pathlib.Path) -> Row:
    """Makes a hostile file, reads it in a forked process, and judges."""
    folder.mkdir()
    path = place(case, folder)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(case, path, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    _, status, usage = os.wait4(pid, 0)
    seconds, gigabytes = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20
    result = json.loads(answer) if answer else {"error": f"status {status}", "alarms": []}
    broke = [f"{event} was called" for event in dict.fromkeys(result["alarms"])]
    if (path.parent / CANARY).exists() or (folder / CANARY).exists():
        broke.append("the exploit ran")
    if seconds > SECONDS:
        broke.append(f"took {seconds:.0f} s")
    if gigabytes > MEMORY:
        broke.append(f"took {gigabytes:.2f} GB")
    message = str(result.get("message", ""))
    if not answer:
        broke.append(f"ended by status {status}")
    elif result["error"] is None:
        broke += [] if case.harmless else ["read without an error"]
    else:
        broke += [] if result["own"] else [f"a trace of {result['error']}"]
        broke += ["several lines"] if "\n" in message.strip() else []
        broke += [f"{len(message)} letters"] if len(message) > _LONGEST else []
        broke += [] if case.file in message else ["the file is not named"]
    shutil.rmtree(folder)
    return Row(case, broke, bool(answer) and result["error"] is None, message, seconds, gigabytes)


def report(rows: list[Row]) -> list[str]:
    """The lines of the page: counts by reader, and each case that broke."""
    readers = list(dict.fromkeys(row.case.reader for row in rows))
    lines = [
        "| read as | files | refused in one line | harmless | broke | longest | most memory |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for reader in readers:
        mine = [row for row in rows if row.case.reader == reader]
        held = [row for row in mine if not row.broke]
        harmless = sum(row.read for row in held)
        lines.append(
            f"| {reader} | {len(mine)} | {len(held) - harmless} | {harmless} | "
            f"{len(mine) - len(held)} | {max(row.seconds for row in mine):.1f} s | "
            f"{max(row.gigabytes for row in mine):.2f} GB |"
        )
    broke = [row for row in rows if row.broke]
    lines += [
        "",
        f"{len(rows) - len(broke)} of {len(rows)} held. Nothing may run; each may take "
        f"{SECONDS:.0f} s of one core and {MEMORY:.0f} GB.",
    ]
    lines += [f"* broke: {row.case.name}: {', '.join(row.broke)}" for row in broke]
    return lines


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="the cases whose names have this text")
    parser.add_argument("--write", type=pathlib.Path, help="the page that gets the table")
    arguments = parser.parse_args()
    import cnnlab.data
    import cnnlab.models.weights  # noqa: F401 before the forks

    cases = [*images.cases(), *data.cases(), *weights.cases()]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(cases):
            if arguments.only not in case.name:
                continue
            row = attempt(case, pathlib.Path(folder) / str(number))
            rows.append(row)
            what = ", ".join(row.broke) or ("read" if row.read else "refused")
            took = f"{row.seconds:.1f} s, {row.gigabytes:.2f} GB"
            shown = row.message.replace(folder, "")[:200]
            print(
                f"{'broke' if row.broke else 'held '} {case.name}: {what}; {took}; {shown}",
                flush=True,
            )
    lines = report(rows)
    print("\n".join(lines))
    if arguments.write is not None:
        write_section(arguments.write, "Hostile files", "hostile_files", lines)
    sys.exit(any(row.broke for row in rows))


if __name__ == "__main__":
    main()

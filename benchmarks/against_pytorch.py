"""A training step and inference of ResNet-20 and LeNet-5 beside PyTorch's, on this CPU.

    pip install -e '.[benchmark]'
    python -m benchmarks.against_pytorch

Both have a process of their own, with every core, that lives as long as the benchmark; they take
turns, in alternating order, and the one that waits is idle. PyTorch runs eagerly with images and
weights in channels-last memory. A training step is forward, softmax cross-entropy, backward and
Nesterov's SGD with weight decay; cnnlab's runs several in one compiled call, as training does, from
uint8 images and with its metrics. Inference is one call a batch, from uint8 images too. Speed is
PyTorch's time over cnnlab's, the median over rounds of the two that ran one after the other.

Where something else ran, PyTorch was seen to become ten times slower and cnnlab only twice, which
makes cnnlab look far better than it is. A round in which something else took more than a
twentieth of the processors' time is therefore thrown away and repeated (where /proc tells, as on
Linux); rows without enough rounds are marked as disturbed, and have no figures.

Writes benchmarks/results/against_pytorch.json.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from experiments import cli

RESULT = pathlib.Path(__file__).parent / "results" / "against_pytorch.json"
ROOT = pathlib.Path(__file__).resolve().parent.parent
SHAPES = {"resnet20": (32, 32, 3), "lenet5": (28, 28, 1)}
STEPS = {"resnet20": 4, "lenet5": 100}  # in one turn
BATCH = 128
FLOOR = {("resnet20", "train"): 0.6, ("lenet5", "train"): 0.6, ("resnet20", "infer"): 1.0}
LIMIT = 0.05  # of the processors' time, for everything else

Turn = Callable[[], None]


def cnnlab_turns(model: str, steps: int) -> dict[str, Turn]:
    """The work of cnnlab in a turn: ``steps`` updates, ``steps`` batches of inference."""
    import jax
    import numpy as np
    from jax import numpy as jnp

    from cnnlab import augment, models, optim, train
    from cnnlab.data.batches import Batch
    from cnnlab.keys import run_key

    shape = SHAPES[model]
    channels = shape[2]
    optimizer = optim.sgd(0.01, momentum=0.9, nesterov=True, weight_decay=1e-4)
    prepare = augment.normalize((127.5,) * channels, (74.0,) * channels)
    recipe = train.Recipe(models.create(model), optimizer, prepare)
    key = run_key(0)
    state = jax.jit(lambda key: train.init_state(recipe, key, shape))(key)
    generator = np.random.default_rng(0)
    images = jnp.asarray(generator.integers(0, 256, (BATCH, *shape), dtype=np.uint8))
    labels = jnp.asarray(generator.integers(0, 10, BATCH, dtype=np.int32))
    batch = Batch(images, labels, jnp.ones(BATCH))

    def updates(state: Any, batch: Batch) -> Any:
        def body(_: Any, carry: Any) -> Any:
            return train.train_step(recipe, carry[0], batch, key)

        first = train.train_step(recipe, state, batch, key)
        return jax.lax.fori_loop(1, steps, body, first)

    def logits(state: Any, images: Any) -> Any:
        return train.predict_step(recipe, state, images)

    update, infer = jax.jit(updates), jax.jit(logits)

    def train_turn() -> None:
        jax.block_until_ready(update(state, batch))

    def infer_turn() -> None:
        for _ in range(steps):
            jax.block_until_ready(infer(state, images))

    return {"train": train_turn, "infer": infer_turn}


def torch_turns(model: str, steps: int) -> dict[str, Turn]:
    """The work of PyTorch in a turn."""
    import torch

    from benchmarks import torch_networks

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    height, width, channels = SHAPES[model]
    layout = torch.channels_last
    network = torch_networks.create(model)
    network.to(memory_format=layout)  # type: ignore[call-overload]
    images = torch.randn(BATCH, channels, height, width).to(memory_format=layout)
    labels = torch.randint(0, 10, (BATCH,))
    optimizer = torch.optim.SGD(
        network.parameters(), 0.01, momentum=0.9, nesterov=True, weight_decay=1e-4
    )

    def train_turn() -> None:
        network.train()
        for _ in range(steps):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(images), labels).backward()
            optimizer.step()

    def infer_turn() -> None:
        network.eval()
        with torch.inference_mode():
            for _ in range(steps):
                network(images)

    return {"train": train_turn, "infer": infer_turn}


def work(side: str, model: str) -> None:
    """A process of one side: a turn for every line, whose milliseconds a step it answers."""
    cli.prepare()
    turns = (cnnlab_turns if side == "cnnlab" else torch_turns)(model, STEPS[model])
    for turn in turns.values():
        turn()
        turn()
    print("ready", flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        turns[line.strip()]()
        print(1e3 * (time.perf_counter() - began) / STEPS[model], flush=True)


def measure(model: str, rounds: int) -> Iterator[tuple[str, dict[str, list[float]], int]]:
    """``(what, milliseconds a step of each round for each side, rounds thrown away)``.

    Fewer rounds than asked for come back where three times as many were thrown away.
    """
    sides = {side: _start(side, model) for side in ("cnnlab", "torch")}
    for what in ("train", "infer"):
        times: dict[str, list[float]] = {side: [] for side in sides}
        disturbed = 0
        while len(times["torch"]) < rounds and disturbed < 3 * rounds:
            order = list(sides)[:: 1 if len(times["torch"]) % 2 else -1]
            turns = {side: _turn(sides[side], what) for side in order}
            if any(others > LIMIT for _, others in turns.values()):
                disturbed += 1
                continue
            for side, (milliseconds, _) in turns.items():
                times[side].append(milliseconds)
        yield what, times, disturbed
    for process in sides.values():
        _pipes(process)[0].close()
        process.wait()


def _start(side: str, model: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.against_pytorch", "--worker", side, model]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    if _pipes(process)[1].readline().strip() != "ready":
        raise SystemExit(f"the process of {side} did not start: see its message above.")
    return process


def _turn(process: subprocess.Popen[str], what: str) -> tuple[float, float]:
    """Milliseconds a step, and the part of the processors' time that something else took."""
    questions, answers = _pipes(process)
    before = _ticks(process.pid)
    print(what, file=questions, flush=True)
    milliseconds = float(answers.readline())
    total, busy, own = (new - old for new, old in zip(_ticks(process.pid), before, strict=True))
    return milliseconds, max(0, busy - own) / max(1, total)


def _ticks(process: int) -> tuple[int, int, int]:
    """Ticks of all processors, those not idle (a hypervisor's theft included), the process's own.

    Zeros where there is no /proc.
    """
    everything, one = pathlib.Path("/proc/stat"), pathlib.Path(f"/proc/{process}/stat")
    if not everything.exists():
        return 0, 0, 0
    ticks = [int(part) for part in everything.read_text().split("\n")[0].split()[1:9]]
    own = one.read_text().rpartition(")")[2].split()[11:13]
    return sum(ticks), sum(ticks) - ticks[3] - ticks[4], sum(map(int, own))


def _pipes(process: subprocess.Popen[str]) -> tuple[Any, Any]:
    assert process.stdin is not None and process.stdout is not None
    return process.stdin, process.stdout


def rows(rounds: int) -> Iterator[dict[str, Any]]:
    """One row for each model and kind of step, as the JSON file has it."""
    for model in SHAPES:
        for what, sides, disturbed in measure(model, rounds):
            pairs = zip(sides["torch"], sides["cnnlab"], strict=True)
            ratios = [torch / cnnlab for torch, cnnlab in pairs]
            yield {
                "model": model,
                "what": what,
                "batch": BATCH,
                "steps_in_a_turn": STEPS[model],
                "rounds": len(ratios),
                "rounds_thrown_away": disturbed,
                "disturbed": len(ratios) < rounds,
                "milliseconds": {side: _median_and_range(times) for side, times in sides.items()},
                "speed": _median_and_range(ratios),
                "floor": FLOOR.get((model, what)),
            }


def _median_and_range(times: list[float]) -> dict[str, float] | None:
    if not times:
        return None
    return {"median": statistics.median(times), "min": min(times), "max": max(times)}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--worker", nargs=2, metavar=("SIDE", "MODEL"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(*arguments.worker)
        return
    cli.prepare()
    kept = []
    print("                 milliseconds: median (smallest - largest)            speed of cnnlab")
    for row in rows(arguments.rounds):
        kept.append(row)
        parts = [f"{side} {_text(spread)}" for side, spread in row["milliseconds"].items()]
        floor = "" if row["floor"] is None else f", at least {row['floor']} asked"
        if row["disturbed"]:
            floor += f", DISTURBED: {row['rounds']} of {arguments.rounds} rounds"
        print(
            f"{row['model']:9} {row['what']:6} {'   '.join(parts)}   {_text(row['speed'])}{floor}",
            flush=True,
        )
    from importlib.metadata import version

    from cnnlab.files import write_json
    from cnnlab.train.environment import environment

    here = environment(RESULT.parent, os.environ.get("XLA_FLAGS"))
    result = {"rounds": arguments.rounds, "rows": kept, "environment": here}
    write_json(RESULT, {**result, "torch": version("torch")})


def _text(spread: dict[str, float] | None) -> str:
    if spread is None:
        return "-"
    return f"{spread['median']:.2f} ({spread['min']:.2f} - {spread['max']:.2f})"


if __name__ == "__main__":
    main()

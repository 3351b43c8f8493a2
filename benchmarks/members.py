"""K networks in one program against K runs in turn: time of a step of all of them, and memory.

    python -m benchmarks.members

K = 1, 2, 4, 8, 16 take turns, round by round, in one process; medians with the smallest and
largest. In turn means that the program of one network is called K times. On a CPU members are
mapped, and none should cost more than one alone; on an accelerator they are vmapped and share the
device. Memory is what the compiled program asks for: arguments, results and the space between.
Writes benchmarks/results/members.json.
"""

import argparse
import os
import pathlib
import statistics
import time
from typing import Any

from experiments import launch

RESULT = pathlib.Path(__file__).parent / "results" / "members.json"
MEMBERS = (1, 2, 4, 8, 16)
CASES = (("lenet5", (28, 28, 1), 128, 12), ("resnet20", (32, 32, 3), 32, 4))


def measure(
    model: str, shape: tuple[int, int, int], batch: int, steps: int, rounds: int
) -> dict[int, dict[str, Any]]:
    """For each K the rounds' milliseconds of a step of all members, both ways, and the bytes."""
    import jax

    programs = {members: _program(model, shape, batch, steps, members) for members in MEMBERS}
    alone, its_arguments, _ = programs[1]
    found: dict[int, dict[str, Any]] = {
        members: {"together": [], "in_turn": [], "bytes": size}
        for members, (_, _, size) in programs.items()
    }
    for _ in range(rounds):
        for members, (program, arguments, _) in programs.items():
            began = time.perf_counter()
            jax.block_until_ready(program(*arguments))
            found[members]["together"].append(1e3 * (time.perf_counter() - began) / steps)
            began = time.perf_counter()
            for _ in range(members):
                jax.block_until_ready(alone(*its_arguments))
            found[members]["in_turn"].append(1e3 * (time.perf_counter() - began) / steps)
    return found


def _program(
    model: str, shape: tuple[int, int, int], batch: int, steps: int, members: int
) -> tuple[Any, tuple[Any, ...], int]:
    """The compiled training of so many members, warm; its arguments; the bytes that it needs."""
    import jax
    import numpy as np

    from cnnlab import augment, models, optim, train
    from cnnlab.data.batches import Resident, training_plan
    from cnnlab.data.dataset import Dataset
    from cnnlab.mesh import MEMBER, make_mesh, place, sharding
    from cnnlab.train.program import initialise, no_sums, train_program

    generator = np.random.Generator(np.random.PCG64(0))
    examples = batch * steps
    images = generator.integers(0, 256, (examples, *shape), dtype=np.uint8)
    labels = generator.integers(0, 10, examples, dtype=np.int32)
    dataset = Dataset(images, labels, tuple("0123456789"), "noise")
    recipe = train.Recipe(
        models.create(model),
        optim.sgd(0.01, nesterov=True, weight_decay=1e-4),
        augment.normalize((127.0,) * shape[2], (64.0,) * shape[2]),
    )
    mesh = make_mesh(members, devices=jax.devices()[:1])
    source = Resident(dataset, mesh)
    seeds = place(np.arange(members, dtype=np.uint32), sharding(mesh, MEMBER))
    states, _ = initialise(recipe, dataset, seeds, mesh)
    plan = training_plan(examples, batch, tuple(range(members)), 0)
    (window,) = source.windows(plan, 0, steps)
    arguments = (
        states,
        no_sums(members, mesh),
        seeds,
        window.own,
        window.shared,
        np.int32(0),
        np.int32(steps),
        jax.numpy.zeros(1, np.int32),
    )
    compiled = train_program(recipe, source.batch_at, mesh).lower(*arguments).compile()
    jax.block_until_ready(compiled(*arguments))
    memory = compiled.memory_analysis()
    parts = ("argument_size_in_bytes", "output_size_in_bytes", "temp_size_in_bytes")
    return compiled, arguments, sum(getattr(memory, part) for part in parts)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    launch.prepare()
    from cnnlab.train.environment import environment
    from cnnlab.train.records import write_json

    rows = []
    print("model     batch   K  ms a step of all: in one program, in turn  ratio  MiB")
    for model, shape, batch, steps in CASES:
        for members, found in measure(model, shape, batch, steps, rounds).items():
            times = {
                way: {
                    "median": statistics.median(found[way]),
                    "min": min(found[way]),
                    "max": max(found[way]),
                }
                for way in ("together", "in_turn")
            }
            ratio = times["together"]["median"] / times["in_turn"]["median"]
            rows.append(
                {
                    "model": model,
                    "batch": batch,
                    "members": members,
                    "milliseconds": times,
                    "against_in_turn": ratio,
                    "bytes": found["bytes"],
                }
            )
            print(
                f"{model:9} {batch:5} {members:3}  {times['together']['median']:9.1f} "
                f"{times['in_turn']['median']:9.1f}  {ratio:5.2f}  {found['bytes'] / 2**20:6.1f}",
                flush=True,
            )
    here = environment(RESULT.parent, os.environ.get("XLA_FLAGS"))
    write_json(RESULT, {"rounds": rounds, "rows": rows, "environment": here})


if __name__ == "__main__":
    main()

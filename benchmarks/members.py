"""Milliseconds of a training step for each of K networks that train in one program.

    python -m benchmarks.members

K = 1, 2, 4, 8 take turns, round by round, in one process; medians with the smallest and largest.
On a CPU members are mapped, and none should cost more than one alone; on an accelerator they are
vmapped and share the device. Writes benchmarks/results/members.json.
"""

import argparse
import os
import pathlib
import statistics
import time
from typing import Any

from experiments import launch

RESULT = pathlib.Path(__file__).parent / "results" / "members.json"
CASES = (("lenet5", (28, 28, 1), 128, 12), ("resnet20", (32, 32, 3), 32, 4))


def measure(model: str, shape: tuple[int, int, int], batch: int, steps: int, rounds: int) -> Any:
    """Milliseconds a member and step for each K: all rounds."""
    import jax
    import numpy as np

    from cnnlab import augment, models, optim, train
    from cnnlab.data.batches import Resident, training_plan
    from cnnlab.data.dataset import Dataset
    from cnnlab.mesh import MEMBER, make_mesh, place, sharding
    from cnnlab.train.program import init_program, no_sums, train_program

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
    calls = {}
    for members in (1, 2, 4, 8):
        mesh = make_mesh(members, devices=jax.devices()[:1])
        source = Resident(dataset, mesh)
        seeds = place(np.arange(members, dtype=np.uint32), sharding(mesh, MEMBER))
        states = init_program(recipe, shape, mesh)(seeds)
        plan = training_plan(examples, batch, tuple(range(members)), 0)
        (window,) = source.windows(plan, 0, steps)
        program = train_program(recipe, source.batch_at, mesh)
        arguments = (
            states,
            no_sums(members, mesh),
            seeds,
            window.own,
            window.shared,
            np.int32(0),
            np.int32(steps),
            np.zeros(1, np.int32),
        )
        jax.block_until_ready(program(*arguments))
        calls[members] = (program, arguments)
    times: dict[int, list[float]] = {members: [] for members in calls}
    for _ in range(rounds):
        for members, (program, arguments) in calls.items():
            began = time.perf_counter()
            jax.block_until_ready(program(*arguments))
            times[members].append(1e3 * (time.perf_counter() - began) / (members * steps))
    return times


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    launch.prepare()
    from cnnlab.train.environment import environment
    from cnnlab.train.records import write_json

    rows = []
    print("model     batch  K  ms a member and step: median (smallest - largest)  against K = 1")
    for model, shape, batch, steps in CASES:
        times = measure(model, shape, batch, steps, rounds)
        alone = statistics.median(times[1])
        for members, found in times.items():
            median = statistics.median(found)
            rows.append(
                {
                    "model": model,
                    "batch": batch,
                    "members": members,
                    "milliseconds": {"median": median, "min": min(found), "max": max(found)},
                    "against_one": median / alone,
                }
            )
            print(
                f"{model:9} {batch:5} {members:2}  {median:8.1f} ({min(found):.1f} - "
                f"{max(found):.1f})  {median / alone:5.2f}",
                flush=True,
            )
    here = environment(RESULT.parent, os.environ.get("XLA_FLAGS"))
    write_json(RESULT, {"rounds": rounds, "rows": rows, "environment": here})


if __name__ == "__main__":
    main()

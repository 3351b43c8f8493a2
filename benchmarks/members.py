"""K networks in one program against K runs in turn: time of a step of all of them, and memory.

    python -m benchmarks.members

K = 1, 2, 4, 8, 16 take turns, round by round, in one process; medians with the smallest and
largest. In turn means that the program of one network is called K times. On a CPU members are
mapped, and none should cost more than one alone; on an accelerator they are vmapped and share the
device. Memory is that of the compiled program: arguments, results and temporaries.
Writes benchmarks/results/members.json.
"""

import argparse
import os
import pathlib
import statistics
import time
from typing import Any

from benchmarks import programs
from experiments import cli

RESULT = pathlib.Path(__file__).parent / "results" / "members.json"
MEMBERS = (1, 2, 4, 8, 16)
CASES = (("lenet5", (28, 28, 1), 128, 12), ("resnet20", (32, 32, 3), 32, 4))


def measure(
    model: str, shape: tuple[int, int, int], batch: int, steps: int, rounds: int
) -> dict[int, dict[str, Any]]:
    """For each K the rounds' milliseconds of a step of all members, both ways, and the bytes."""
    import jax

    from cnnlab import optim

    dataset = programs.noise(shape, batch * steps)
    recipe = programs.recipe(model, shape[2], optim.sgd(0.01, nesterov=True, weight_decay=1e-4))
    trainings = {
        members: programs.compiled(recipe, dataset, batch, steps, members=members)
        for members in MEMBERS
    }
    alone = trainings[1]
    records: dict[int, dict[str, Any]] = {
        members: {"together": [], "in_turn": [], "bytes": training.program_bytes}
        for members, training in trainings.items()
    }
    for _ in range(rounds):
        for members, training in trainings.items():
            began = time.perf_counter()
            jax.block_until_ready(training.program(*training.arguments))
            records[members]["together"].append(1e3 * (time.perf_counter() - began) / steps)
            began = time.perf_counter()
            for _ in range(members):
                jax.block_until_ready(alone.program(*alone.arguments))
            records[members]["in_turn"].append(1e3 * (time.perf_counter() - began) / steps)
    return records


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    cli.prepare()
    from cnnlab.files import write_json
    from cnnlab.train.environment import environment

    rows = []
    print("model     batch   K  ms a step of all: in one program, in turn  ratio  MiB")
    for model, shape, batch, steps in CASES:
        for members, record in measure(model, shape, batch, steps, rounds).items():
            times = {
                way: {
                    "median": statistics.median(record[way]),
                    "min": min(record[way]),
                    "max": max(record[way]),
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
                    "bytes": record["bytes"],
                }
            )
            print(
                f"{model:9} {batch:5} {members:3}  {times['together']['median']:9.1f} "
                f"{times['in_turn']['median']:9.1f}  {ratio:5.2f}  {record['bytes'] / 2**20:6.1f}",
                flush=True,
            )
    here = environment(RESULT.parent, os.environ.get("XLA_FLAGS"))
    write_json(RESULT, {"rounds": rounds, "rows": rows, "environment": here})


if __name__ == "__main__":
    main()

"""A frozen front against the same network without freezing: time of a step, memory; and the cache.

    python -m benchmarks.frozen

All variants take turns, round by round, in one process; medians with the smallest and largest.
"frozen up to X" differentiates only what is behind X, but still runs the front forward; "cached up
to X" trains the rest on the front's stored output (experiments.finetune does so where images are
not augmented). Adam, so that the optimizer's memory is two numbers for every parameter that learns;
program memory is what the compiled program asks for, without the data set. Frozen parameters and
statistics are compared bit by bit at the end. Writes benchmarks/results/frozen.json.
"""

import argparse
import dataclasses
import os
import pathlib
import statistics
import time
from typing import Any, NamedTuple

from experiments import launch

RESULT = pathlib.Path(__file__).parent / "results" / "frozen.json"
# Model, image, batch, steps in a call, and the stages up to which it is frozen in turn.
CASES = (("resnet20", (32, 32, 3), 128, 4, ("stem", "stage1", "stage2", "stage3")),)


class Variant(NamedTuple):
    """A compiled training.

    Attributes:
      program: runs all steps of an epoch.
      arguments: of the program; the states come first.
      optimizer_bytes: of the optimizer's state.
      program_bytes: what the program asks for, less the data.
      still: whether the frozen part is the same to the bit after the program ran.
    """

    program: Any
    arguments: tuple[Any, ...]
    optimizer_bytes: int
    program_bytes: int
    still: bool


def variants(
    model: str, shape: tuple[int, int, int], batch: int, steps: int, stages: tuple[str, ...]
) -> dict[str, Variant]:
    """Everything that takes turns, by name."""
    import numpy as np

    from cnnlab import augment, models, optim, train
    from cnnlab.data import Dataset
    from cnnlab.keys import run_key
    from cnnlab.transfer import freeze
    from cnnlab.transfer.cache import front_features
    from cnnlab.transfer.rest import rest_recipe, rest_states

    generator = np.random.Generator(np.random.PCG64(0))
    images = generator.integers(0, 256, (batch * steps, *shape), dtype=np.uint8)
    labels = generator.integers(0, 10, batch * steps, dtype=np.int32)
    dataset = Dataset(images, labels, tuple("0123456789"), "noise")
    network = models.create(model)
    whole = train.Recipe(
        network,
        optim.adam(1e-3, weight_decay=1e-4),
        augment.normalize((127.0,) * shape[2], (64.0,) * shape[2]),
    )
    found = {"whole": compiled(whole, dataset, batch, steps)}
    for stage in stages:
        recipe = dataclasses.replace(whole, rates=freeze(network, up_to=stage))
        found[f"frozen up to {stage}"] = compiled(recipe, dataset, batch, steps)
        state = train.init_state(recipe, run_key(0), shape)
        states = train.states_of(recipe, {"params": state.params, **state.model_state})
        features = front_features(recipe, states, dataset, stage, batch_size=batch)
        rest = rest_recipe(recipe, stage)
        begun = rest_states(recipe, states, stage)
        found[f"cached up to {stage}"] = compiled(rest, features, batch, steps, begun)
    return found


def compiled(recipe: Any, dataset: Any, batch: int, steps: int, states: Any = None) -> Variant:
    """A warm program of one epoch of one network."""
    import jax
    import numpy as np

    from cnnlab.data.batches import Resident, training_plan
    from cnnlab.mesh import MEMBER, make_mesh, place, sharding
    from cnnlab.train.program import initialise, no_sums, train_program

    mesh = make_mesh(1, devices=jax.devices()[:1])
    source = Resident(dataset, mesh)
    seeds = place(np.zeros(1, np.uint32), sharding(mesh, MEMBER))
    if states is None:
        states, _ = initialise(recipe, dataset, seeds, mesh)
    plan = training_plan(len(dataset), batch, (0,), 0)
    (window,) = source.windows(plan, 0, steps)
    arguments = (
        jax.device_put(states, sharding(mesh, MEMBER)),
        no_sums(1, mesh),
        seeds,
        window.own,
        window.shared,
        np.int32(0),
        np.int32(steps),
        jax.numpy.zeros(1, np.int32),
    )
    program = train_program(recipe, source.batch_at, mesh).lower(*arguments).compile()
    after, _, _ = jax.block_until_ready(program(*arguments))
    memory = program.memory_analysis()
    data = sum(leaf.nbytes for leaf in jax.tree.leaves(window.shared))
    parts = ("argument_size_in_bytes", "output_size_in_bytes", "temp_size_in_bytes")
    return Variant(
        program,
        arguments,
        sum(leaf.nbytes for leaf in jax.tree.leaves(states.opt_state)),
        sum(getattr(memory, part) for part in parts) - data,
        _still(recipe, states, after),
    )


def _still(recipe: Any, before: Any, after: Any) -> bool:
    import jax
    import numpy as np

    if recipe.rates is None:
        return True
    frozen = recipe.rates.frozen(before.params)
    same = jax.tree.map(
        lambda still, a, b: not still or np.array_equal(a, b), frozen, before.params, after.params
    )
    modules = recipe.rates.frozen_modules(before.params)
    statistics_same = [
        np.array_equal(a, b)
        for name in modules
        for collection in before.model_state
        for a, b in zip(
            jax.tree.leaves(before.model_state[collection].get(name, {})),
            jax.tree.leaves(after.model_state[collection].get(name, {})),
            strict=True,
        )
    ]
    return all(jax.tree.leaves(same)) and all(statistics_same)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    launch.prepare()
    import jax

    from cnnlab.train.environment import environment
    from cnnlab.train.records import write_json

    rows = []
    for model, shape, batch, steps, stages in CASES:
        found = variants(model, shape, batch, steps, stages)
        times: dict[str, list[float]] = {name: [] for name in found}
        for _ in range(rounds):
            for name, variant in found.items():
                began = time.perf_counter()
                jax.block_until_ready(variant.program(*variant.arguments))
                times[name].append(1e3 * (time.perf_counter() - began) / steps)
        whole = statistics.median(times["whole"])
        print(f"{model}, batch {batch}: ms a step, times as fast, optimizer KiB, program MiB")
        for name, variant in found.items():
            median = statistics.median(times[name])
            rows.append(
                {
                    "model": model,
                    "batch": batch,
                    "variant": name,
                    "milliseconds": {
                        "median": median,
                        "min": min(times[name]),
                        "max": max(times[name]),
                    },
                    "speed": whole / median,
                    "optimizer_bytes": variant.optimizer_bytes,
                    "program_bytes": variant.program_bytes,
                    "frozen_bitwise_unchanged": variant.still,
                }
            )
            print(
                f"  {name:24} {median:8.1f} {whole / median:6.1f} "
                f"{variant.optimizer_bytes / 2**10:8.1f} {variant.program_bytes / 2**20:7.1f}"
                f"{'' if variant.still else '  the frozen part CHANGED'}",
                flush=True,
            )
    here = environment(RESULT.parent, os.environ.get("XLA_FLAGS"))
    write_json(RESULT, {"rounds": rounds, "rows": rows, "environment": here})


if __name__ == "__main__":
    main()

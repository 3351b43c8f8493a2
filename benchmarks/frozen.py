"""A frozen front against the same network without freezing: time of a step, memory; and the cache.

    python -m benchmarks.frozen

All variants take turns, round by round, in one process; medians with the smallest and largest.
"frozen up to X" differentiates only what is after X, but still runs the front forward; "cached up
to X" trains the tail on the front's stored output (experiments.finetune does so where images are
not augmented). Adam, so that the optimizer's memory is two numbers for every parameter that learns;
program memory is that of the compiled program, without the data set. Frozen parameters and
statistics are compared bit by bit at the end. Writes benchmarks/results/frozen.json.
"""

import argparse
import dataclasses
import os
import pathlib
import statistics
import time
from typing import Any, NamedTuple

from benchmarks import programs
from experiments import cli

RESULT = pathlib.Path(__file__).parent / "results" / "frozen.json"
# Model, image, batch, steps in a call, and the stages up to which it is frozen in turn.
CASES = (("resnet20", (32, 32, 3), 128, 4, ("stem", "stage1", "stage2", "stage3")),)


class Variant(NamedTuple):
    """A training that takes its turn.

    Attributes:
      training: its compiled program.
      optimizer_bytes: of the optimizer's state.
      still: whether the frozen part is the same to the bit after the program ran.
    """

    training: programs.Training
    optimizer_bytes: int
    still: bool


def variants(
    model: str, shape: tuple[int, int, int], batch: int, steps: int, stages: tuple[str, ...]
) -> dict[str, Variant]:
    """Everything that takes turns, by name."""
    from cnnlab import optim, train
    from cnnlab.keys import run_key
    from cnnlab.transfer import freeze
    from cnnlab.transfer.cache import front_features
    from cnnlab.transfer.tail import tail_recipe, tail_states

    dataset = programs.noise(shape, batch * steps)
    full = programs.recipe(model, shape[2], optim.adam(1e-3, weight_decay=1e-4))
    variants_by_name = {"whole": _variant(full, dataset, batch, steps)}
    for stage in stages:
        recipe = dataclasses.replace(full, rates=freeze(full.network, up_to=stage))
        variants_by_name[f"frozen up to {stage}"] = _variant(recipe, dataset, batch, steps)
        state = train.init_state(recipe, run_key(0), shape)
        states = train.states_of(recipe, {"params": state.params, **state.model_state})
        features = front_features(recipe, states, dataset, stage, batch_size=batch)
        tail = tail_recipe(recipe, stage)
        initial = tail_states(recipe, states, stage)
        variants_by_name[f"cached up to {stage}"] = _variant(tail, features, batch, steps, initial)
    return variants_by_name


def _variant(recipe: Any, dataset: Any, batch: int, steps: int, states: Any = None) -> Variant:
    import jax

    training = programs.compiled(recipe, dataset, batch, steps, states=states)
    before = training.arguments[0]
    optimizer_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(before.opt_state))
    return Variant(training, optimizer_bytes, _still(recipe, before, training.after))


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
    cli.prepare()
    import jax

    from cnnlab.files import write_json
    from cnnlab.train.environment import environment

    rows = []
    for model, shape, batch, steps, stages in CASES:
        variants_by_name = variants(model, shape, batch, steps, stages)
        times: dict[str, list[float]] = {name: [] for name in variants_by_name}
        for _ in range(rounds):
            for name, variant in variants_by_name.items():
                began = time.perf_counter()
                jax.block_until_ready(variant.training.program(*variant.training.arguments))
                times[name].append(1e3 * (time.perf_counter() - began) / steps)
        full = statistics.median(times["whole"])
        print(f"{model}, batch {batch}: ms a step, times as fast, optimizer KiB, program MiB")
        for name, variant in variants_by_name.items():
            median = statistics.median(times[name])
            program_bytes = variant.training.program_bytes - variant.training.data_bytes
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
                    "speed": full / median,
                    "optimizer_bytes": variant.optimizer_bytes,
                    "program_bytes": program_bytes,
                    "frozen_bitwise_unchanged": variant.still,
                }
            )
            print(
                f"  {name:24} {median:8.1f} {full / median:6.1f} "
                f"{variant.optimizer_bytes / 2**10:8.1f} {program_bytes / 2**20:7.1f}"
                f"{'' if variant.still else '  the frozen part CHANGED'}",
                flush=True,
            )
    here = environment(RESULT.parent, os.environ.get("XLA_FLAGS"))
    write_json(RESULT, {"rounds": rounds, "rows": rows, "environment": here})


if __name__ == "__main__":
    main()

"""The weights of a network, or its program, in a file."""

import pathlib
from typing import Any

import jax

from cnnlab.keys import run_key
from cnnlab.models import weights
from cnnlab.studies import trained
from cnnlab.studies.file_description import save_weights

from ..cli import host
from .config import KINDS, Config


def run(config: Config) -> pathlib.Path:
    """Writes the file, and prints which network is in it.

    Raises:
      ResumeError: if there is no run.
      ValueError: if the run has no such seed, or the file is of another kind.
    """
    if config.to.suffix not in KINDS:
        raise ValueError(f"the file must end with {' or '.join(KINDS)}, got {config.to}.")
    weights.check_writable(config.to)
    if note := trained.unfinished_note(config.run):
        host().say(note)
    networks = trained.load_run(config.run, best=config.best, images=False)
    seed = networks.seeds[0] if config.seed is None else config.seed
    if seed not in networks.seeds:
        seeds = ", ".join(map(str, networks.seeds))
        raise ValueError(f"the run has the seeds {seeds}, not {seed}.")
    recipe, step = networks.recipe, networks.step
    variables = networks.member(networks.seeds.index(seed)).variables
    if config.to.suffix == ".safetensors":
        assert networks.config is not None
        save_weights(
            config.to,
            variables,
            networks.config,
            networks.records,
            step=str(step),
            seed=str(seed),
        )
    else:

        def predict(images: jax.Array) -> Any:
            prepared = recipe.prepare(run_key(0), images)
            return recipe.network.apply(variables, prepared, train=False)

        shape = networks.image_shape
        program = weights.export_function(predict, shape, platforms=config.platforms)
        weights.save_exported(config.to, program)
    host().say(f"{config.to}: {networks.model}, step {step:,}, seed {seed}")
    return config.to

"""Hands a trained network on: its weights as safetensors, or all of it as one program.

python -m experiments.export runs/digits-resnet8-1 resnet8.safetensors
python -m experiments.export runs/digits-resnet8-1 resnet8.stablehlo

The weights are read back by ``models.weights.load`` or any reader of safetensors. The program takes
uint8 images ``[n, H, W, C]``, any number of them, normalises them as in training and gives logits
``[n, K]``; it needs jax alone: ``models.weights.load_exported(FILE)(images)``, or
``jax.export.deserialize(bytearray(file.read())).call(images)``.
"""

import dataclasses
import json
import pathlib
import sys
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from experiments import launch
from experiments.config import load_data
from experiments.finished import config_of, networks_of

if TYPE_CHECKING:
    import jax

KINDS = (".safetensors", ".stablehlo")


@dataclasses.dataclass(frozen=True)
class Config:
    """Which network to write where."""

    run: Annotated[pathlib.Path, tyro.conf.Positional]
    """The run directory."""
    to: Annotated[pathlib.Path, tyro.conf.Positional]
    """The file: FILE.safetensors for the weights, FILE.stablehlo for the whole program."""
    seed: int | None = None
    """Which network of several seeds; the first if left out."""
    best: bool = False
    """The best checkpoint on the validation part, not the latest."""
    platforms: tuple[str, ...] = ("cpu", "cuda", "tpu")
    """Where the program shall run."""


def run(config: Config) -> pathlib.Path:
    """Writes the file and says what is in it.

    Raises:
      ResumeError: if there is no run.
      ValueError: if the run has no such seed, or the file is of another kind.
    """
    from cnnlab import train
    from cnnlab.keys import run_key
    from cnnlab.models import weights

    if config.to.suffix not in KINDS:
        raise ValueError(f"the file must end with {' or '.join(KINDS)}, got {config.to}.")
    weights.check_writable(config.to)
    trained = config_of(config.run)
    seeds = trained.all_seeds
    seed = seeds[0] if config.seed is None else config.seed
    if seed not in seeds:
        raise ValueError(f"the run has the seeds {', '.join(map(str, seeds))}, not {seed}.")
    data = load_data(trained).train
    recipe, states, step = networks_of(config.run, trained, data, best=config.best)
    state = train.member(states, seeds.index(seed))
    network = state.evaluated
    variables = {"params": network.params, **network.model_state}
    if config.to.suffix == ".safetensors":
        about = {"model": trained.model, "options": json.dumps(trained.model_options)}
        about |= {"classes": json.dumps(data.class_names), "step": str(step), "seed": str(seed)}
        weights.save_safetensors(variables, config.to, about)
    else:

        def predict(images: "jax.Array") -> Any:
            prepared = recipe.prepare(run_key(0), images)
            return recipe.network.apply(variables, prepared, train=False)

        program = weights.export_function(predict, data.image_shape, platforms=config.platforms)
        weights.save_exported(config.to, program)
    print(f"{config.to}: {trained.model}, step {step:,}, seed {seed}")
    return config.to


def main() -> None:
    """The command line."""
    launch.prepare()
    with launch.speaking_plainly("experiments.export"):
        run(tyro.cli(Config, args=sys.argv[1:], description=__doc__))


if __name__ == "__main__":
    main()

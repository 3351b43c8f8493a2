"""Layers that learn without labels, kept on the disk so that a resume has the same bits."""

import io
import pathlib
import time
from typing import TYPE_CHECKING, Any

from experiments.config import make_recipe, options
from experiments.pretrain_claims import METHODS

if TYPE_CHECKING:
    from cnnlab.data import Dataset
    from cnnlab.transfer.stacking import Stack
    from experiments.pretrain import Config, Study


def pretrained(study: "Study", method: str) -> tuple["Stack", dict[str, Any]]:
    """The layers ``[M, ...]`` that a method gives each seed, and what result.json says of it.

    They are kept in the whole's folder "pretrained", so that a resume goes on from the same bits.
    """
    import jax
    import numpy as np
    from jax import numpy as jnp

    from cnnlab.keys import run_key, stream_key

    config, train = study.config, study.splits.train
    study.say(f"\n{METHODS[method]}, {config.seeds} seeds, on {len(train)} images without labels:")
    found, seconds = [], 0.0
    inputs: jax.Array | None = None
    for seed in config.all_seeds:
        path = study.whole.directory / "pretrained" / f"{method}-seed{seed}.npz"
        if path.is_file():
            stack, took = kept(path)
        else:
            if inputs is None:
                inputs = _inputs(config, train)
            begin = time.perf_counter()
            key = stream_key(run_key(seed), "pretraining")
            stack = jax.block_until_ready(_learned(config, method, key, inputs))
            took = time.perf_counter() - begin
            keep(path, stack, took)
        seconds += took
        ends = ", ".join(f"{each:.4g}" for each in stack.errors[:, -1])
        study.say(f"  seed {seed}: error of reconstruction, layer by layer, {ends}; {took:.0f} s")
        found.append(stack)
    together: Stack = jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)
    errors = np.mean(np.asarray(together.errors), 0)
    return together, {"errors": errors.round(4).tolist(), "seconds": round(seconds, 1)}


def _learned(config: "Config", method: str, key: Any, inputs: Any) -> "Stack":
    from cnnlab.transfer import stacking

    chosen = options(config.model_options)
    widths = chosen.get("widths", (256, 128))
    how: dict[str, Any] = {
        "visible": config.visible,
        "epochs": config.pretrain_epochs,
        "batch_size": config.pretrain_batch_size,
    }
    if method == "rbm":
        return stacking.belief_network(
            key,
            inputs,
            widths,
            steps=config.gibbs_steps,
            persistent=config.persistent,
            learning_rate=config.rbm_rate,
            **how,
        )
    return stacking.denoising_autoencoders(
        key,
        inputs,
        widths,
        corrupt=stacking.masking(config.corruption) if method == "denoising" else None,
        activation=chosen.get("activation", "relu"),
        learning_rate=config.autoencoder_rate,
        **how,
    )


def _inputs(config: "Config", train: "Dataset") -> Any:
    """The images as the network sees them, float32 ``[N, D]``."""
    import jax
    import numpy as np
    from jax import numpy as jnp

    prepare = make_recipe(config, train).prepare
    images = prepare(jax.random.key(0), jnp.asarray(np.asarray(train.images[:])))
    return images.reshape(len(train), -1)


def keep(path: pathlib.Path, stack: "Stack", seconds: float) -> None:
    """Writes the layers and the seconds that they took, atomically; the first process does."""
    import numpy as np

    from cnnlab.train.recorder import first_process
    from cnnlab.train.records import write_bytes

    if not first_process():
        return
    arrays: dict[str, Any] = {"errors": np.asarray(stack.errors), "seconds": np.float64(seconds)}
    for index, layer in enumerate(stack.layers):
        for name, leaf in layer._asdict().items():
            arrays[f"{name}{index}"] = np.asarray(leaf)
    path.parent.mkdir(exist_ok=True)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_bytes(path, buffer.getvalue())


def kept(path: pathlib.Path) -> tuple["Stack", float]:
    """What ``keep`` wrote."""
    import numpy as np

    from cnnlab.transfer.rbm import Machine
    from cnnlab.transfer.stacking import Stack

    with np.load(path) as arrays:
        layers = tuple(
            Machine(*(arrays[f"{name}{index}"] for name in Machine._fields))
            for index in range(len(arrays["errors"]))
        )
        return Stack(layers, arrays["errors"]), float(arrays["seconds"])

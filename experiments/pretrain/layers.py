"""Layers that learn without labels, kept in the run directory for a resume."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from cnnlab.data import Dataset
from cnnlab.keys import run_key, stream_key
from cnnlab.studies import build
from cnnlab.studies.settings import parse_options
from cnnlab.studies.study import Study
from cnnlab.transfer import stacking
from cnnlab.transfer.rbm import Machine
from cnnlab.transfer.stacking import Stack

from .config import METHODS, Config


def pretrain(s: Study[Config], method: str, train: Dataset) -> tuple[Stack, dict[str, Any]]:
    """The layers ``[M, ...]`` of each seed, of a method that pretrains, on all of ``train``.

    Returns:
      The layers, and ``errors`` (of reconstruction, a mean over seeds, [L][E]) and ``seconds``.
    """
    s.say(f"\n{METHODS[method]}, {s.config.seeds} seeds, on {len(train)} images without labels:")
    inputs: list[jax.Array] = []  # made once, and only where layers are missing

    def compute(seed: int) -> dict[str, np.ndarray]:
        if not inputs:
            inputs.append(_inputs(s.config, train))
        began = s.host.clock()
        key = stream_key(run_key(seed), "pretraining")
        stack = jax.block_until_ready(_learn(s.config, method, key, inputs[0]))
        return to_arrays(stack, s.host.clock() - began)

    stacks, seconds = [], 0.0
    for seed in s.config.all_seeds:
        path = f"pretrained/{method}-seed{seed}.npz"
        stack, took = from_arrays(s.cached(path, functools.partial(compute, seed)))
        ends = ", ".join(f"{each:.4g}" for each in stack.errors[:, -1])
        s.say(f"  seed {seed}: error of reconstruction, layer by layer, {ends}; {took:.0f} s")
        stacks.append(stack)
        seconds += took
    joined: Stack = jax.tree.map(lambda *leaves: jnp.stack(leaves), *stacks)
    errors = np.mean(np.asarray(joined.errors), 0)
    return joined, {"errors": errors.round(4).tolist(), "seconds": round(seconds, 1)}


def to_arrays(stack: Stack, seconds: float) -> dict[str, np.ndarray]:
    """Layers and the seconds that they took as arrays by name."""
    arrays = {"errors": np.asarray(stack.errors), "seconds": np.asarray(seconds, np.float64)}
    for index, layer in enumerate(stack.layers):
        for name, leaf in layer._asdict().items():
            arrays[f"{name}{index}"] = np.asarray(leaf)
    return arrays


def from_arrays(arrays: Mapping[str, Any]) -> tuple[Stack, float]:
    """The layers and seconds of ``to_arrays``."""
    layers = tuple(
        Machine(*(arrays[f"{name}{index}"] for name in Machine._fields))
        for index in range(len(arrays["errors"]))
    )
    return Stack(layers, arrays["errors"]), float(arrays["seconds"])


def _learn(config: Config, method: str, key: jax.Array, inputs: jax.Array) -> Stack:
    options = parse_options(config.model_options)
    widths = options.get("widths", (256, 128))
    settings: dict[str, Any] = {
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
            **settings,
        )
    return stacking.denoising_autoencoders(
        key,
        inputs,
        widths,
        corrupt=stacking.masking(config.corruption) if method == "denoising" else None,
        activation=options.get("activation", "relu"),
        learning_rate=config.autoencoder_rate,
        **settings,
    )


def _inputs(config: Config, train: Dataset) -> jax.Array:
    """The images as the network sees them, float32 ``[N, D]``."""
    prepare = build.make_normalization(config, train)
    images = prepare(jax.random.key(0), jnp.asarray(np.asarray(train.images[:])))
    return images.reshape(len(train), -1)

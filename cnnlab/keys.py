"""Random keys, made from a run's seed, a stream's name and a step. No key is stored."""

import zlib

import jax


def run_key(seed: int | jax.Array) -> jax.Array:
    """The key from which all randomness of a run with this seed is derived."""
    return jax.random.key(seed)


def stream_key(key: jax.Array, stream: str, index: int | jax.Array = 0) -> jax.Array:
    """The key of one stream at one step or epoch: ``fold_in`` of its name and of ``index``.

    Args:
      key: of the run.
      stream: "init", "order", "augment", "dropout" …
      index: the step or epoch, integer [].
    """
    return jax.random.fold_in(jax.random.fold_in(key, zlib.crc32(stream.encode())), index)

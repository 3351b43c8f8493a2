"""Keys come from seed, stream and step alone, the same on every machine and in every version."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab.keys import run_key, stream_key


def data(key):
    return np.asarray(jax.random.key_data(key)).tolist()


@pytest.mark.parametrize(
    ("seed", "stream", "index", "want"),
    [
        (0, "init", 0, [517294207, 118925294]),
        (7, "augment", 123, [1941288124, 4226056708]),
        (2**32 - 1, "order", 2**31 - 1, [124962595, 327706379]),
    ],
)
def test_a_key_is_for_ever(seed, stream, index, want):
    """Committed as this function gave them: a run must be resumable by later versions."""
    assert data(stream_key(run_key(seed), stream, index)) == want


def test_no_two_streams_or_steps_share_a_key():
    streams = ("init", "order", "augment", "dropout", "prepare")
    keys = [
        tuple(data(stream_key(run_key(seed), stream, index)))
        for seed in (0, 1)
        for stream in streams
        for index in range(20)
    ]
    assert len(set(keys)) == len(keys) == 200


@pytest.mark.parametrize("seed", [0, 5, 2**31, 2**32 - 1])
def test_a_traced_seed_and_step_give_the_key_of_plain_numbers(seed):
    traced = jax.jit(lambda seed, step: stream_key(run_key(seed), "augment", step))
    got = traced(np.uint32(seed), jnp.int32(17))
    assert data(got) == data(stream_key(run_key(seed), "augment", 17))


def test_the_first_index_is_zero():
    assert data(stream_key(run_key(3), "init")) == data(stream_key(run_key(3), "init", 0))

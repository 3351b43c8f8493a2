"""The event loop for Orbax's reads: a damaged array gives an error, and no traces beside it."""

import asyncio

import jax
import pytest
from jax import numpy as jnp

from cnnlab.train import late_reads
from cnnlab.train.checkpoint import CheckpointError, Checkpoints
from cnnlab.train.late_reads import without_late_traces


def test_what_ends_after_a_loop_is_dropped_in_loops_made_here_only():
    with without_late_traces():
        quiet = asyncio.new_event_loop()
    loud = asyncio.new_event_loop()
    called = []
    quiet.call_soon_threadsafe(called.append, 1)
    quiet.call_soon_threadsafe(quiet.stop)
    quiet.run_forever()
    assert called == [1]
    for loop in (quiet, loud):
        loop.close()
    assert quiet.call_soon_threadsafe(called.append, 2) is None
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loud.call_soon_threadsafe(called.append, 2)


def test_a_damaged_checkpoint_leaves_only_loops_that_drop_what_is_late(tmp_path, monkeypatch):
    """Else each array that was still being read prints a trace (87 lines for an MLP)."""
    tree = {f"array{i}": jnp.full((3,), i) for i in range(20)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, tree, {})
    (data,) = (tmp_path / "1" / "tree" / "d").iterdir()
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree)
    loops, make = [], asyncio.new_event_loop
    monkeypatch.setattr(asyncio, "new_event_loop", lambda: loops.append(make()) or loops[-1])
    with Checkpoints(tmp_path, say=lambda line: None) as checkpoints:
        before = len(loops)
        with pytest.raises(CheckpointError, match="tried step 1"):
            checkpoints.restore(like)
    # Other loops, such as that which lists the steps, have no reads that could be late.
    assert late_reads._Loop in [type(loop) for loop in loops[before:] if loop.is_closed()]

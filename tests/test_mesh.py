"""The mesh: how devices are dealt out to members and batches."""

import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from cnnlab import mesh


def test_one_device_is_a_mesh_of_one():
    one = mesh.make_mesh(3, devices=jax.devices()[:1])
    assert one.axis_names == ("member", "data") and dict(one.shape) == {"member": 1, "data": 1}


def test_eight_devices_are_dealt_out_and_hold_their_parts(run_on_devices):
    got = run_on_devices(8, EIGHT)
    assert got["devices"] == 8
    assert got["grids"] == {
        "1": [1, 8],
        "2": [2, 4],
        "3": [1, 8],
        "4": [4, 2],
        "6": [2, 4],
        "8": [8, 1],
        "16": [8, 1],
    }
    assert got["asked"] == [2, 4]
    assert got["whole"] is True and got["each_once"] is True
    assert got["part_shape"] == [1, 3, 2] and got["parts"] == 8
    for refused in got["refused"]:
        assert "member_axis must divide the 8 devices" in refused
    assert got["allowed"] is True
    assert "multiple of the 8 devices that share a batch, got 20. Take 24" in got["batch"]


EIGHT = """
import json
import jax
import numpy as np
from cnnlab import mesh

out = {"devices": len(jax.devices())}
out["grids"] = {m: list(mesh.make_mesh(m).devices.shape) for m in (1, 2, 3, 4, 6, 8, 16)}
out["asked"] = list(mesh.make_mesh(4, member_axis=2).devices.shape)
grid = mesh.make_mesh(2)
out["each_once"] = sorted(d.id for d in grid.devices.flat) == list(range(8))
value = np.arange(2 * 3 * 8).reshape(2, 3, 8)
placed = mesh.place(value, mesh.sharding(grid, "member", None, "data"))
out["whole"] = bool((np.asarray(placed) == value).all())
out["part_shape"] = list(placed.addressable_shards[0].data.shape)
out["parts"] = len({str(s.index) for s in placed.addressable_shards})


def refusal(function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except ValueError as error:
        return str(error)


out["refused"] = [refusal(mesh.make_mesh, m, member_axis=a) for m, a in ((4, 3), (3, 2), (4, 0))]
out["allowed"] = refusal(mesh.check_divides, mesh.make_mesh(1), 24) is None
out["batch"] = refusal(mesh.check_divides, mesh.make_mesh(1), 20)
print(json.dumps(out))
"""


def test_a_value_comes_back_from_one_device_as_it_went():
    value = np.random.Generator(np.random.PCG64(0)).standard_normal((2, 3)).astype(np.float32)
    placed = mesh.place(value, mesh.sharding(mesh.make_mesh(devices=jax.devices()[:1])))
    np.testing.assert_array_equal(placed, value)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_any_batch_fits_one_device(batch_size):
    mesh.check_divides(mesh.make_mesh(devices=jax.devices()[:1]), batch_size)


PROCESS = """
import sys
import jax
import numpy as np
from cnnlab import mesh
from cnnlab.ensemble import average
from cnnlab.train import TrainState

jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
value = np.arange(6, dtype=np.float32).reshape(2, 3)
spread = mesh.place(value, mesh.sharding(mesh.make_mesh(2), "member"))
assert not spread.is_fully_addressable and not spread.is_fully_replicated
tree = {"spread": spread, "own": jax.numpy.ones(2), "host": np.zeros(3)}
fetched = mesh.fetch(tree)
assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(fetched))
assert (fetched["spread"] == value).all()
assert fetched["own"].shape == (2,) and fetched["host"].shape == (3,)
for initial in (spread, value):  # as fit places initial states
    assert (mesh.fetch(jax.device_put(initial, spread.sharding)) == value).all()
state = TrainState(np.zeros(2, np.int32), {"kernel": spread}, {}, (), None)
assert (average([state, state]).params["kernel"] == value).all()
"""


def test_members_spread_over_processes_are_fetched_whole(device_environment):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, address, str(number)],
            env=device_environment(1),
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors[-3000:]

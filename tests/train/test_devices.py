"""The same training on 1, 2, 4 and 8 devices, and on two processes."""

import json
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

from cnnlab.train.records import read_metrics

PROGRAM = pathlib.Path(__file__).with_name("spread.py")


@pytest.fixture(scope="module")
def alone(run_on_devices):
    return run_on_devices(1, PROGRAM, "[1]")[0]


@pytest.mark.parametrize(
    ("count", "axes"),
    [
        pytest.param(2, [1, 2], marks=pytest.mark.slow),
        (4, [2]),  # two along each axis
        pytest.param(8, [1], marks=pytest.mark.slow),
    ],
)
def test_every_mesh_gives_the_losses_of_one_device(run_on_devices, alone, count, axes):
    assert len(alone["losses"]) == 20
    for actual in run_on_devices(count, PROGRAM, json.dumps(axes)):
        assert actual["devices"] == count and actual["still"]
        assert actual["mesh"]["member"] * actual["mesh"]["data"] == count
        np.testing.assert_allclose(actual["losses"], alone["losses"], rtol=2e-3)
        np.testing.assert_allclose(actual["losses"][:5], alone["losses"][:5], rtol=1e-4)
        np.testing.assert_allclose(actual["test"]["loss"], alone["test"]["loss"], rtol=2e-3)
        # 13 examples, each once: an accuracy is so many thirteenths.
        accuracies = np.asarray(actual["test"]["accuracy"])
        np.testing.assert_allclose(accuracies * 13, actual["correct"], atol=1e-9)


MAPPED = pathlib.Path(__file__).with_name("mapped.py")


@pytest.mark.parametrize("count", [*(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2)), 4])
def test_a_step_by_shard_map_pmap_and_jit_is_that_of_one_device(run_on_devices, count):
    """By check_vma True and False, in one part and two, dense and with BatchNorm over devices.

    With check_vma, the gradient of replicated parameters is summed over the devices already.
    """
    gaps = run_on_devices(count, MAPPED)
    assert gaps.pop("devices") == count
    assert max(gaps.pop("gradients of convolutions")) < 1e-4
    assert len(gaps) == 2 * 2 * 4
    for case, (parameters, statistics, sums) in gaps.items():
        # A gradient that is summed instead of averaged would move parameters count times as far.
        assert parameters < 1e-3 and statistics < 1e-5 and sums < 1e-4, case


def run_processes(count, options, directory, environment):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "experiments.train", *options, "--run-dir", str(directory)]
    together = [
        [
            *command,
            *("--coordinator", f"127.0.0.1:{port}", "--processes", str(count)),
            *("--process-id", str(number)),
        ]
        for number in range(count)
    ]
    running = [
        subprocess.Popen(
            one if count > 1 else command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for one in together
    ]
    for process in running:
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output[-3000:]
    return read_metrics(directory / "metrics.jsonl"), json.loads(
        (directory / "result.json").read_text()
    )


OPTIONS = (
    "--dataset synthetic:80:8x8x1:3 --model resnet8 --model-options width=2 --batch-size 16 "
    "--epochs 4 --learning-rate 0.02 --crop 1 --flip --quiet"
).split()


@pytest.fixture(scope="module")
def one_process(tmp_path_factory, device_environment):
    directory = tmp_path_factory.mktemp("one") / "run"
    return run_processes(1, OPTIONS, directory, device_environment(1))


@pytest.mark.parametrize("stream", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_two_processes_give_the_losses_of_one(tmp_path, device_environment, one_process, stream):
    options = [*OPTIONS, "--stream", str(stream)]
    metrics, result = one_process
    both, result_of_both = run_processes(2, options, tmp_path / "two", device_environment(1))
    assert len(metrics) == len(both) == 4
    for one, other in zip(metrics, both, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_allclose(other[name], one[name], rtol=1e-3, err_msg=name)
    for name in ("loss", "accuracy"):
        wanted, actual = result["test"][name]["mean"], result_of_both["test"][name]["mean"]
        assert actual == pytest.approx(wanted, rel=1e-3)
    assert result_of_both["environment"]["process_count"] == 2

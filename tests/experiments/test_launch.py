"""What the entry modules do before they import jax, and what they refuse."""

import pytest

from experiments import launch


@pytest.mark.parametrize(("platform", "processes", "devices"), [("cpu", 1, 8), ("gpu", 2, 8)])
def test_devices_of_one_process_or_of_accelerators_are_taken(platform, processes, devices):
    launch.check_devices(platform, processes, devices)


def test_several_cpu_devices_in_each_of_several_processes_are_refused():
    with pytest.raises(ValueError, match="one device each, this one has 4.*start more processes"):
        launch.check_devices("cpu", 2, 4)
    launch.check_devices("cpu", 4, 1)

"""A lock on a folder: it names its holder, and ends with it."""

import os
import signal
import subprocess
import sys

import pytest

from cnnlab.lock import LockedError, hold

pytest.importorskip("fcntl")


def test_the_second_is_refused_and_told_who_holds_it(tmp_path):
    with hold(tmp_path / "lock"):
        for _ in range(2):
            with pytest.raises(LockedError, match=f"process {os.getpid()} on "):
                hold(tmp_path / "lock")
    hold(tmp_path / "lock").close()


def test_the_lock_of_a_killed_process_is_gone(tmp_path):
    code = (
        "import sys, time; from cnnlab.lock import hold; file = hold(sys.argv[1]); "
        "print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LockedError, match=f"process {holder.pid} on "):
            hold(tmp_path / "lock")
        holder.send_signal(signal.SIGKILL)
    hold(tmp_path / "lock").close()

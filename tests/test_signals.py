"""Signals: kept for the end of an epoch in training, the end of the process outside of it."""

import os
import signal
import subprocess
import sys

import pytest

from cnnlab.signals import StopSignals

PROGRAM = """
import os, signal, sys, time
from cnnlab.signals import ExitSignals, StopSignals

with ExitSignals(lambda number: os.write(1, f"ended by {number}\\n".encode())):
    if sys.argv[1] == "training":
        with StopSignals() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            print("noted", stop(), flush=True)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
    try:
        print("ready", flush=True)
        if sys.argv[1] == "swallowed":
            while True:
                try:
                    time.sleep(60)
                except KeyboardInterrupt:
                    pass
        import ctypes
        ctypes.PyDLL(None).sleep(1)  # holds the interpreter; the signal waits, but is not lost
        ctypes.CDLL(None).sleep(60)  # in C, where Python's handlers are not called
    finally:
        print("went on", flush=True)
"""


def start(kind):
    command = [sys.executable, "-c", PROGRAM, kind]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize("kind", ["swallowed", "in C"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_process_ends_wherever_it_is(kind, number):
    process = start(kind)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.communicate(timeout=20)[0] == f"ended by {int(number)}\n"
    assert process.returncode == 128 + number


def test_in_training_the_first_is_noted_and_the_second_ends_the_process():
    process = start("training")
    output = process.communicate(timeout=20)[0]
    assert output == f"noted True\nended by {int(signal.SIGTERM)}\n"
    assert process.returncode == 128 + signal.SIGTERM


def test_a_hang_up_is_noted_unless_the_process_ignores_it():
    before = signal.getsignal(signal.SIGHUP)
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.received == signal.SIGHUP
    assert signal.getsignal(signal.SIGHUP) == before
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with StopSignals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop()
    finally:
        signal.signal(signal.SIGHUP, before)

"""Signals: kept for the end of an epoch in training, the end of the process outside of it."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from cnnlab.signals import ExitSignals, StopSignals, take_signals_back

PROGRAM = """
import ctypes, os, signal, sys, time
from cnnlab.signals import ExitSignals, StopSignals, take_signals_back

with ExitSignals(lambda number: os.write(1, f"ended by {number}\\n".encode())):
    if sys.argv[1] == "training":
        with StopSignals() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            print("noted", stop(), flush=True)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
    if sys.argv[1] == "taken":  # by a library, in C
        ctypes.CDLL(None).signal(signal.SIGTERM, 1)
        ctypes.CDLL(None).signal(signal.SIGINT, 1)
        take_signals_back()
    try:
        print("ready", flush=True)
        if sys.argv[1] == "swallowed":
            while True:
                try:
                    time.sleep(60)
                except KeyboardInterrupt:
                    pass
        ctypes.PyDLL(None).sleep(1)  # holds the interpreter; the signal waits, but is not lost
        ctypes.CDLL(None).sleep(60)  # in C, where Python's handlers are not called
    finally:
        print("went on", flush=True)
"""


def start(kind):
    command = [sys.executable, "-c", PROGRAM, kind]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize("kind", ["swallowed", "in C", "taken"])
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


def test_a_handler_that_is_not_python_s_is_left_alone(monkeypatch):
    """It could not be put back: ``signal.signal`` does not take the None that stands for it."""
    known = signal.getsignal
    monkeypatch.setattr(signal, "getsignal", lambda n: None if n == signal.SIGTERM else known(n))
    with StopSignals() as stop, ExitSignals(pytest.fail):
        assert set(stop._before) == {signal.SIGINT, signal.SIGHUP}
    assert known(signal.SIGTERM) == signal.SIG_DFL


def test_outside_of_the_main_thread_nothing_is_changed_and_no_thread_is_left():
    before, threads, failed = signal.getsignal(signal.SIGINT), threading.active_count(), []

    def enter():
        try:
            with ExitSignals(pytest.fail), StopSignals() as stop:
                take_signals_back()
                assert not stop() and not stop._before
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert not failed and signal.getsignal(signal.SIGINT) == before
    assert threading.active_count() == threads

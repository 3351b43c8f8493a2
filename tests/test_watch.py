"""Processes that watch each other: which one is gone, and who ended as it should."""

import subprocess
import sys
import time

PROGRAM = """
import os, sys, time
from cnnlab.watch import Watch
number, port = int(sys.argv[1]), int(sys.argv[2])

def lost(gone):
    os.write(1, f"{gone} is gone\\n".encode())
    os._exit(1)

watch = Watch(number, lost)
if number == 0:
    port = watch.listen()
else:
    watch.connect("127.0.0.1", port)
print(port, flush=True)
sys.stdin.readline()  # until it is told to end
watch.leave()
time.sleep(60)  # JAX lets all processes wait for each other
"""


def start(number, port=0):
    command = [sys.executable, "-c", PROGRAM, str(number), str(port)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return process, int(process.stdout.readline())


def three():
    first, port = start(0)
    return [first, *(start(number, port)[0] for number in (1, 2))]


def end(processes):
    for process in processes:
        process.kill()
        process.communicate()


def test_each_is_told_which_one_was_killed():
    for victim in (0, 2):
        processes = three()
        time.sleep(0.2)  # their greetings are read
        processes.pop(victim).kill()
        try:
            for process in processes:
                assert process.wait(timeout=20) == 1
                assert process.stdout.read() == f"{victim} is gone\n"
        finally:
            end(processes)


def test_one_that_ends_as_it_should_is_not_missed():
    processes = three()
    try:
        for process in processes:
            process.stdin.write("end\n")
            process.stdin.flush()
        time.sleep(0.5)
        for process in processes:
            process.kill()
            assert process.communicate()[0] == ""
    finally:
        end(processes)

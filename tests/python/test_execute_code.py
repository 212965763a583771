# SPDX-License-Identifier: MIT
"""execute_code: the three calls."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import BINDINGS

pytestmark = pytest.mark.usefixtures("works")


@pytest.fixture(autouse=True)
def calls():
    import execute_code

    execute_code.init_guest()
    yield execute_code
    execute_code.shutdown_guest()


@pytest.fixture
def run(calls):
    return calls.run_in_guest


def test_hello(run):
    assert run(["bash", "-c", "echo Hello from Ubuntu"]) == (0, "Hello from Ubuntu\n", "")


def test_ls(run):
    code, stdout, stderr = run(["/bin/ls", "/bin"])
    assert (code, stderr) == (0, "")
    assert {"bash", "cat", "ls"} <= set(stdout.splitlines())


def test_a_command_that_fails(run):
    assert run(["sh", "-c", "echo out; echo err >&2; exit 3"]) == (3, "out\n", "err\n")
    assert run(["false"]) == (1, "", "")


def test_a_command_that_does_not_exist(run):
    assert run(["no-such-command", "x"]) == (127, "", "no-such-command: command not found\n")
    assert run(["/no/such"]) == (127, "", "/no/such: No such file or directory\n")


def test_a_command_that_is_not_executable(run):
    assert run(["/etc/passwd"]) == (126, "", "/etc/passwd: Permission denied\n")


def test_a_command_that_is_killed(run):
    assert run(["sh", "-c", "kill -TERM $$"])[0] == 128 + 15


def test_bytes_that_are_not_utf8(run):
    assert run(["printf", r"a\377\r\n"]) == (0, "a\N{REPLACEMENT CHARACTER}\r\n", "")


def test_files_stay_until_shutdown(calls, run):
    assert run(["touch", "/tmp/file"])[0] == 0
    assert run(["test", "-e", "/tmp/file"])[0] == 0
    calls.shutdown_guest()
    calls.init_guest()
    assert run(["test", "-e", "/tmp/file"])[0] == 1


def test_each_call_may_come_twice(calls, run):
    calls.init_guest()
    assert run(["echo"])[0] == 0
    calls.shutdown_guest()
    calls.shutdown_guest()


def test_without_init(calls, run):
    calls.shutdown_guest()
    assert run(["echo", "a"]) == (0, "a\n", "")


def test_threads(calls, run):
    calls.shutdown_guest()
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda n: run(["echo", str(n)]), range(64)))
    assert results == [(0, f"{n}\n", "") for n in range(64)]


def test_a_fork_gets_a_guest_of_its_own(host_program):
    out = host_program(
        """
        import os
        from execute_code import run_in_guest
        run_in_guest(["touch", "/tmp/parent"])
        pid = os.fork()
        if pid == 0:
            code = run_in_guest(["test", "-e", "/tmp/parent"])[0]
            os._exit(0 if code == 1 else 1)
        assert os.waitpid(pid, 0)[1] == 0
        print(run_in_guest(["test", "-e", "/tmp/parent"])[0])
        """
    )
    assert out == "0\n"


def test_the_demo():
    program = [sys.executable, "-B", str(BINDINGS / "execute_code.py")]
    done = subprocess.run(program, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    assert "Hello from Ubuntu\n" in done.stdout
    assert "no-such-command: command not found" in done.stdout

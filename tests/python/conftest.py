# SPDX-License-Identifier: MIT
"""Fixtures: guests, a host program of its own, and the check that a test leaves nothing behind.

Where guests do not work, tests that need one are skipped with the reason; GUEST_TEST_MUST_WORK=1
makes that a failure.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

BINDINGS = Path(__file__).resolve().parents[2] / "bindings" / "python"
if BINDINGS.is_dir():
    sys.path.insert(0, str(BINDINGS))

import libguest  # noqa: E402


@pytest.fixture(scope="session")
def works():
    """Guests work here. One stays open, so that what is kept for all is there from now on: the
    unpacked rootfs, and a place for control groups.
    """
    try:
        guest = libguest.Guest(cgroup=True, best_effort=True)
    except OSError as error:
        if os.environ.get("GUEST_TEST_MUST_WORK") == "1":
            pytest.fail(f"guests do not work here: {error}")
        pytest.skip(f"guests do not work here: {error}")
    with guest:
        yield


@pytest.fixture(scope="module")
def guest(works):
    """One for all tests of a module. A first command was run: its socket stays for the next."""
    with libguest.Guest() as guest:
        guest.run(["true"])
        yield guest


@pytest.fixture
def own_guest(works):
    """A guest for one test."""
    with libguest.Guest() as guest:
        yield guest


@pytest.fixture
def host_program(works, tmp_path):
    """Run a Python program as a host of its own, and return what it prints."""

    def run(code, *, timeout=60):
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(code))
        env = dict(os.environ, PYTHONPATH=str(BINDINGS), PYTHONDONTWRITEBYTECODE="1")
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-W", "error::ResourceWarning", str(path)],
            env=env,
            timeout=timeout,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    return run


def open_fds():
    fds = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            fds[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            pass  # that of listdir() itself
    return fds


def has_children():
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def mounts():
    """The mount table, without what tools of the host mount as they need it."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if " - tracefs " not in line and " - debugfs " not in line]


@pytest.fixture(autouse=True)
def nothing_is_left():
    fds, table, directory, umask = open_fds(), mounts(), os.getcwd(), os.umask(0o022)
    os.umask(umask)
    yield
    libguest.trim()
    assert open_fds() == fds
    assert not has_children()
    assert mounts() == table
    assert os.getcwd() == directory
    assert os.umask(umask) == umask

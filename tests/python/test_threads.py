# SPDX-License-Identifier: MIT
"""Many threads, one guest or many."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from libguest import Guest


@pytest.fixture
def pool():
    with ThreadPoolExecutor(64) as pool:
        yield pool


def test_64_threads_on_one_guest(guest, pool):
    def run(n):
        data = f"{n:08}\n".encode() * (1000 + n)
        done = guest.run(f"cat; echo {n} >&2; exit {n % 100}", shell=True, input=data)
        assert (done.returncode, done.stdout, done.stderr) == (n % 100, data, f"{n}\n".encode())

    list(pool.map(run, range(512)))


def test_commands_run_in_parallel(guest, pool):
    started = time.monotonic()
    list(pool.map(lambda _: guest.run(["sleep", "0.5"], check=True), range(32)))
    assert time.monotonic() - started < 5


def test_callbacks_of_many_threads(guest, pool):
    def run(n):
        got = []
        guest.run(["seq", str(n * 100)], on_output=lambda stream, data: got.append(data))
        assert len(b"".join(got).split()) == n * 100

    list(pool.map(run, range(64)))


def test_a_guest_for_each_thread(works, pool):
    def run(n):
        with Guest(hostname=f"guest-{n}") as guest:
            assert guest.run(["hostname"], text=True).stdout == f"guest-{n}\n"

    list(pool.map(run, range(64)))


def test_timeouts_kill_only_their_own(guest, pool):
    def run(n):
        if n % 2:
            return guest.run("sleep 0.6; echo ok", shell=True).stdout
        try:
            guest.run(["sleep", "60"], timeout=0.1)
        except TimeoutError:
            raise
        except Exception as error:
            return error.stdout

    assert list(pool.map(run, range(32))) == [b"", b"ok\n"] * 16

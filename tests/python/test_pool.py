# SPDX-License-Identifier: MIT
"""Pool(): guests made ahead."""

from __future__ import annotations

import gc
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import libguest
from libguest import BudgetExceeded, Guest, Mount, Pool
from libguest._config import Settings

pytestmark = pytest.mark.usefixtures("works")


def wait_ready(pool, count):
    end = time.monotonic() + 30
    while pool.ready < count and time.monotonic() < end:
        time.sleep(0.001)
    assert pool.ready == count


def test_guests_are_fresh_and_as_many_as_one_likes():
    with Pool(2) as pool:
        guests = [pool.take() for _ in range(5)]
        for guest in guests:
            assert type(guest) is Guest
            assert guest.run("cat /tmp/mark; echo x > /tmp/mark", shell=True).stdout == b""
        for guest in guests:
            guest.close()


def test_ready():
    with Pool(3) as pool:
        wait_ready(pool, 3)
        with pool.take() as guest:
            assert guest.run(["echo", "on"]).stdout == b"on\n"
        wait_ready(pool, 3)


def test_arguments_are_those_of_guest(tmp_path):
    (tmp_path / "file").write_text("host\n")
    mounts = [Mount(tmp_path / "file", "/mnt/file", "ro")]
    with Pool(2, hostname="pooled", mounts=mounts, capabilities="=", budget_commands=2) as pool:
        del mounts[:]
        gc.collect()
        for _ in range(4):
            with pool.take() as guest:
                done = guest.run("hostname; cat /mnt/file", shell=True, text=True)
                assert done.stdout == "pooled\nhost\n"
                done = guest.run(["grep", "CapEff", "/proc/self/status"])
                assert done.stdout == b"CapEff:\t0000000000000000\n"
                with pytest.raises(BudgetExceeded):
                    guest.run(["true"])


def test_arguments_that_are_refused():
    for size in (-1, 2**32):
        with pytest.raises(ValueError):
            Pool(size)
    for size in (0, 1025):
        with pytest.raises(libguest.GuestError) as caught:
            Pool(size)
        assert caught.value.stage == "config"
    with pytest.raises(TypeError):
        Pool("2")
    with pytest.raises(TypeError):
        Pool()
    with pytest.raises(FileNotFoundError):
        Pool(1, rootfs="/no/such")
    for kind in (Guest, lambda **settings: Pool(1, **settings)):
        with pytest.raises(TypeError, match="unexpected keyword argument 'memory'"):
            kind(memory=1)


def test_every_setting_is_documented():
    for name in Settings.__annotations__:
        assert name in Guest.__doc__, name


def test_budgets_begin_when_it_is_taken():
    with Pool(1, budget_wall=1) as pool:
        time.sleep(1.2)
        with pool.take() as guest:
            assert guest.info().wall_time < 1
            assert guest.run(["echo", "on"]).stdout == b"on\n"


def test_what_was_taken_outlives_the_pool():
    with Pool(2) as pool:
        guest = pool.take()
    with guest:
        assert guest.run(["echo", "on"]).stdout == b"on\n"


def test_many_threads():
    def use(n):
        with pool.take() as guest:
            return guest.run(["echo", str(n)], text=True).stdout

    with Pool(4) as pool, ThreadPoolExecutor(16) as threads:
        assert list(threads.map(use, range(64))) == [f"{n}\n" for n in range(64)]


def test_closed():
    pool = Pool(1)
    assert not pool.closed
    assert "open" in repr(pool)
    pool.close()
    pool.close()
    pool.shutdown()
    assert pool.closed
    for use in (pool.take, lambda: pool.ready, pool.__enter__):
        with pytest.raises(ValueError, match="closed pool"):
            use()


def test_close_waits_for_takes():
    for _ in range(5):
        pool = Pool(1)
        taken = []

        def take():
            try:
                while True:
                    taken.append(pool.take())
                    taken[-1].close()
            except ValueError:
                pass

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.02)
        pool.close()
        for thread in threads:
            thread.join()
        assert taken


def test_unclosed_pool_warns():
    with pytest.warns(ResourceWarning, match="unclosed pool"):
        Pool(1)
        gc.collect()


def test_forked_child_leaves_it_alone():
    with Pool(2) as pool:
        wait_ready(pool, 2)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                pool.take()
            except ChildProcessError:
                ready = pool.ready
                pool.close()
                status = 0 if ready == 0 and pool.closed else 2
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
        assert pool.ready == 2
        with pool.take() as guest:
            assert guest.run(["echo", "on"]).stdout == b"on\n"


@pytest.mark.parametrize("end", ["os._exit(0)", "pool.close()", ""])
def test_host_that_ends(host_program, end):
    code = f"""
    import os, warnings
    from libguest import Pool
    warnings.simplefilter("ignore")
    pool = Pool(4)
    guest = pool.take()
    print(guest.run(["echo", "on"], text=True).stdout, end="", flush=True)
    {end}
    """
    assert host_program(code) == "on\n"

# SPDX-License-Identifier: MIT
"""Guest.run_async(): commands in an event loop."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import threading
import time

import pytest

import libguest
from libguest import STDOUT, Cause, Guest

FOREVER = "echo before; sleep 60 & sleep 60"


def nothing_runs(guest):
    return b"sleep" not in guest.run(["ps", "-ef"]).stdout


def test_run(guest):
    async def main():
        return await guest.run_async(
            "cat; echo err >&2; exit 3", shell=True, input="in", text=True, stderr=STDOUT
        )

    done = asyncio.run(main())
    assert isinstance(done, libguest.CompletedProcess)
    assert (done.returncode, done.stdout, done.stderr) == (3, "inerr\n", None)


def test_exceptions_are_those_of_run(guest):
    async def main():
        with pytest.raises(FileNotFoundError):
            await guest.run_async(["no-such-command"])
        with pytest.raises(subprocess.CalledProcessError) as called:
            await guest.run_async(["false"], check=True)
        assert called.value.result.cause == Cause.EXITED
        with pytest.raises(subprocess.TimeoutExpired) as expired:
            await guest.run_async(FOREVER, shell=True, timeout=0.3)
        assert (expired.value.timeout, expired.value.stdout) == (0.3, b"before\n")
        with pytest.raises(TypeError):
            await guest.run_async(["true"], no_such_option=1)

    asyncio.run(main())


def test_many_at_once(guest):
    """Each ends when all have begun."""
    wait = "while [ $(ls /tmp | grep -c begun) -lt 20 ]; do sleep 0.1; done"
    code = f"touch /tmp/begun-%d; {wait}; echo %d"

    async def main():
        commands = [guest.run_async(code % (n, n), shell=True, timeout=60) for n in range(20)]
        done = await asyncio.gather(*commands)
        assert [each.stdout for each in done] == [f"{n}\n".encode() for n in range(20)]

    asyncio.run(main())


def test_the_loop_goes_on_meanwhile(guest):
    async def main():
        task = asyncio.ensure_future(guest.run_async(["sleep", "0.5"]))
        ticks = 0
        while not task.done():
            await asyncio.sleep(0.01)
            ticks += 1
        assert ticks > 5

    asyncio.run(main())


def test_a_cancelled_task_ends_its_command(guest):
    async def main():
        task = asyncio.ensure_future(guest.run_async(FOREVER, shell=True))
        await asyncio.sleep(0.2)
        started = time.monotonic()
        task.cancel()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - started < 5
        assert nothing_runs(guest)

    asyncio.run(main())


def test_a_task_cancelled_while_it_is_being_cancelled(guest):
    async def main():
        task = asyncio.ensure_future(guest.run_async(FOREVER, shell=True))
        await asyncio.sleep(0.2)
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
        assert task.cancelled()
        assert nothing_runs(guest)

    asyncio.run(main())


def test_wait_for(guest):
    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(guest.run_async(["sleep", "60"]), 0.2)
        assert nothing_runs(guest)

    asyncio.run(main())


def test_one_of_many_that_fails(guest):
    async def main():
        tasks = [asyncio.ensure_future(guest.run_async(["sleep", "60"])) for _ in range(5)]
        with pytest.raises(subprocess.CalledProcessError):
            await asyncio.gather(*tasks, guest.run_async(["false"], check=True))
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert nothing_runs(guest)

    asyncio.run(main())


def test_the_end_of_the_loop_ends_commands(guest):
    async def main():
        asyncio.ensure_future(guest.run_async(["sleep", "60"]))
        await asyncio.sleep(0.2)

    asyncio.run(main())
    assert nothing_runs(guest)


def test_a_coroutine_that_is_closed(guest):
    async def main():
        coroutine = guest.run_async(["sleep", "60"])
        coroutine.send(None)
        coroutine.close()
        assert nothing_runs(guest)
        assert (await guest.run_async(["echo", "on"])).stdout == b"on\n"

    asyncio.run(main())


def test_on_output_is_called_in_the_loop(guest):
    variable = contextvars.ContextVar("variable", default="unset")
    pieces = []

    def on_output(*piece):
        assert asyncio.get_running_loop()
        pieces.append((threading.get_ident(), variable.get(), *piece))

    async def main():
        variable.set("set")
        code = "echo 1; sleep 0.1; echo 2 >&2; sleep 0.1; echo 3"
        return await guest.run_async(code, shell=True, on_output=on_output)

    done = asyncio.run(main())
    here = (threading.get_ident(), "set")
    wanted = [("stdout", b"1\n"), ("stderr", b"2\n"), ("stdout", b"3\n")]
    assert pieces == [(*here, *piece) for piece in wanted]
    assert (done.stdout, done.stderr) == (b"1\n3\n", b"2\n")


def test_all_output_is_handed_over_before_the_end(guest):
    async def main():
        sizes = []
        await guest.run_async(
            ["head", "-c", str(30 << 20), "/dev/zero"],
            capture_output=False,
            on_output=lambda stream, data: sizes.append(len(data)),
        )
        assert sum(sizes) == 30 << 20

    asyncio.run(main())


@pytest.mark.parametrize("kind", [ZeroDivisionError, KeyboardInterrupt])
def test_exception_of_on_output(guest, kind):
    def on_output(stream, data):
        raise kind("mine")

    async def main():
        with pytest.raises(kind, match="mine"):
            await guest.run_async("echo; sleep 60", shell=True, on_output=on_output)
        assert nothing_runs(guest)

    asyncio.run(main())


def test_close_ends_commands(works):
    async def main():
        guest = Guest()
        task = asyncio.ensure_future(guest.run_async(FOREVER, shell=True))
        await asyncio.sleep(0.2)
        guest.close()
        done = await asyncio.wait_for(task, 30)
        assert (done.cause, done.stdout) == (Cause.CANCELLED, b"before\n")

    asyncio.run(main())


def test_guests_in_many_tasks(works):
    async def work(n):
        with Guest(hostname=f"guest-{n}") as guest:
            return (await guest.run_async(["hostname"], text=True)).stdout

    async def main():
        names = await asyncio.gather(*map(work, range(20)))
        assert names == [f"guest-{n}\n" for n in range(20)]

    asyncio.run(main())


class LoopWithoutReaders(asyncio.SelectorEventLoop):
    """As some have it that are made for other systems."""

    def add_reader(self, fd, callback, *args):
        raise NotImplementedError


def test_a_loop_without_add_reader(guest):
    async def main():
        assert (await guest.run_async(["echo", "on"])).stdout == b"on\n"
        task = asyncio.ensure_future(guest.run_async(FOREVER, shell=True))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert nothing_runs(guest)

    loop = LoopWithoutReaders()
    try:
        loop.run_until_complete(main())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


def test_keyboard_interrupt(host_program):
    out = host_program(
        """
        import asyncio, os, signal, threading
        from libguest import Guest
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with Guest() as guest:
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
            try:
                asyncio.run(guest.run_async(["sleep", "60"]))
            except KeyboardInterrupt:
                print("interrupted")
        """
    )
    assert out == "interrupted\n"

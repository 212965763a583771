# SPDX-License-Identifier: MIT
"""Guest.popen(): commands that run while the caller does something else."""

from __future__ import annotations

import gc
import os
import select
import selectors
import signal
import subprocess
import threading
import time

import pytest

import libguest
from libguest import DEVNULL, Cause, Guest

FOREVER = "echo before; sleep 60 & sleep 60"


def kill_init_of(guest):
    """Kill a guest's PID 1: the parent of a command that is told by its arguments."""
    process = guest.popen(["sleep", str(time.monotonic_ns())])
    arguments = "\0".join([*process.args, ""])
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline") as cmdline, open(f"/proc/{pid}/stat") as stat:
                if cmdline.read() == arguments:
                    os.kill(int(stat.read().rsplit(")", 1)[1].split()[1]), signal.SIGKILL)
        except OSError:
            pass
    with pytest.raises(BrokenPipeError):
        process.wait(30)


def nothing_runs(guest):
    return b"sleep" not in guest.run(["ps", "-ef"]).stdout


def test_a_command_runs_meanwhile(guest):
    process = guest.popen("sleep 0.3; cat; echo err >&2; exit 3", shell=True, input=b"in")
    assert isinstance(process, libguest.Process)
    assert process.args == "sleep 0.3; cat; echo err >&2; exit 3"
    assert process.poll() is None
    assert (process.returncode, process.result, process.stdout) == (None, None, None)
    assert guest.run(["echo", "meanwhile"]).stdout == b"meanwhile\n"
    assert process.wait() == process.wait(0) == process.poll() == process.returncode == 3
    assert (process.stdout, process.stderr) == (b"in", b"err\n")
    assert process.result.cause == Cause.EXITED
    assert process.result.wall_time >= 0.3


def test_communicate(guest):
    process = guest.popen("echo ä; echo b >&2", shell=True, text=True)
    assert process.communicate() == process.communicate() == ("ä\n", "b\n")
    assert guest.popen(["echo"], stdout=DEVNULL, stderr=DEVNULL).communicate() == (None, None)


def test_what_cannot_be_started_is_told_at_once(guest):
    with pytest.raises(FileNotFoundError) as caught:
        guest.popen(["no-such-command"])
    assert (caught.value.stage, caught.value.filename) == ("execve", "no-such-command")
    with pytest.raises(PermissionError):
        guest.popen(["/etc/passwd"])
    with pytest.raises(TypeError, match="check"):
        guest.popen(["true"], check=True)
    with pytest.raises(TypeError, match="no_such_option"):
        guest.run(["true"], no_such_option=1)


def test_a_wait_that_times_out_leaves_it_alone(guest):
    with guest.popen("sleep 0.6; echo done", shell=True) as process:
        for wait in (process.wait, process.communicate):
            with pytest.raises(libguest.TimeoutExpired) as caught:
                wait(timeout=0.1)
            assert (caught.value.cmd, caught.value.timeout) == (process.args, 0.1)
    assert (process.returncode, process.stdout) == (0, b"done\n")


def test_a_timeout_of_its_own_is_a_result(guest):
    process = guest.popen(FOREVER, shell=True, timeout=0.2)
    assert process.wait() == -signal.SIGKILL
    assert process.result.cause == Cause.TIMED_OUT
    assert process.stdout == b"before\n"


def test_signals(guest):
    code = "trap 'echo caught; exit 7' TERM; echo; while :; do sleep 0.02; done"
    arrived = threading.Event()
    process = guest.popen(code, shell=True, on_output=lambda *_: arrived.set())
    assert arrived.wait(30)
    process.send_signal(0)
    process.terminate()
    assert process.wait() == 7
    assert process.stdout == b"\ncaught\n"
    process.send_signal(signal.SIGTERM)
    process.kill()


def test_kill(guest):
    process = guest.popen(["sleep", "60"])
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert process.result.cause == Cause.SIGNALED
    for number in (-1, 4711, 2**32):
        with guest.popen(["sleep", "0.1"]) as process, pytest.raises((ValueError, OSError)):
            process.send_signal(number)


def test_cancel(guest):
    process = guest.popen(FOREVER, shell=True)
    time.sleep(0.2)
    process.cancel()
    assert process.wait() == -signal.SIGKILL
    assert process.result.cause == Cause.CANCELLED
    assert process.stdout == b"before\n"
    process.cancel()
    assert nothing_runs(guest)


def test_cancel_while_threads_wait(guest):
    process = guest.popen(["sleep", "60"])
    codes = []
    threads = [threading.Thread(target=lambda: codes.append(process.wait())) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    process.cancel()
    for thread in threads:
        thread.join()
    assert codes == [-signal.SIGKILL] * 8


def test_the_end_of_a_block_waits(guest):
    with guest.popen(["sleep", "0.2"]) as process:
        pass
    assert process.returncode == 0


def test_an_exception_in_a_block_ends_the_command(guest):
    with pytest.raises(ZeroDivisionError), guest.popen(["sleep", "60"]) as process:
        raise ZeroDivisionError
    assert process.result.cause == Cause.CANCELLED


def test_a_dropped_process_ends(guest):
    process = guest.popen(FOREVER, shell=True)
    with pytest.warns(ResourceWarning, match="was not waited for"):
        del process
        gc.collect()
    assert nothing_runs(guest)


def test_a_process_that_its_on_output_drops(guest):
    processes, called = [], threading.Event()

    def on_output(stream, data):
        while not processes:
            time.sleep(0.01)
        processes.clear()
        called.set()

    with pytest.warns(ResourceWarning):
        processes.append(guest.popen("sleep 0.1; echo; sleep 60", shell=True, on_output=on_output))
        assert called.wait(30)
        # it is dropped when on_output has returned, and then ended by a thread
        for _ in range(1000):
            if nothing_runs(guest):
                break
            time.sleep(0.01)
    assert nothing_runs(guest)


# In an event loop


def test_fileno(guest):
    process = guest.popen(["sleep", "0.3"])
    assert not select.select([process], [], [], 0)[0]
    assert select.select([process], [], [], 30)[0]
    assert process.poll() == 0
    with pytest.raises(ValueError):
        process.fileno()


def test_many_at_once(guest):
    with selectors.DefaultSelector() as selector:
        for n in range(50):
            selector.register(guest.popen(f"read x; echo {n}; exit {n}", shell=True), 1)
        codes = []
        while selector.get_map():
            for key, _ in selector.select(30):
                selector.unregister(key.fileobj)
                codes.append(key.fileobj.wait())
                assert key.fileobj.stdout == f"{codes[-1]}\n".encode()
    assert sorted(codes) == list(range(50))


# on_output


def test_on_output_comes_from_another_thread(guest):
    here, pieces = threading.get_ident(), []
    for n in range(100):
        process = guest.popen(
            f"echo {n}; echo >&2",
            shell=True,
            on_output=lambda *piece: pieces.append((threading.get_ident(), *piece)),
        )
        assert process.wait() == 0
    assert here not in {piece[0] for piece in pieces}
    numbers = b"".join(piece[2] for piece in pieces if piece[1] == "stdout")
    assert numbers == b"".join(b"%d\n" % n for n in range(100))


def test_exception_of_on_output(guest):
    process = guest.popen("echo; sleep 60", shell=True, on_output=lambda *_: 1 // 0)
    for wait in (process.wait, process.poll, process.communicate):
        with pytest.raises(ZeroDivisionError):
            wait()


def test_waiting_in_its_own_on_output_is_refused(guest):
    processes = []

    def on_output(stream, data):
        while not processes:
            time.sleep(0.01)
        assert processes[0].poll() is None
        processes[0].wait()

    processes.append(guest.popen("echo; sleep 60", shell=True, on_output=on_output))
    with pytest.raises(RuntimeError, match="on_output"):
        processes[0].wait(30)


# The guest's end


def test_close_ends_commands(works):
    guest = Guest()
    process = guest.popen(FOREVER, shell=True)
    time.sleep(0.2)
    guest.close()
    assert process.wait() == -signal.SIGKILL
    assert (process.result.cause, process.stdout) == (Cause.CANCELLED, b"before\n")
    with pytest.raises(ValueError, match="closed"):
        guest.popen(["true"])


def test_close_while_on_output_runs_a_command(works):
    started, raised = threading.Event(), []

    def on_output(stream, data):
        started.set()
        try:
            while True:
                guest.run(["true"])
        except ValueError as error:
            raised.append(error)

    guest = Guest()
    process = guest.popen("echo; sleep 60", shell=True, on_output=on_output)
    assert started.wait(30)
    guest.close()
    assert process.wait() == -signal.SIGKILL
    assert len(raised) == 1


def test_close_from_on_output_is_refused(own_guest):
    process = own_guest.popen(["echo"], on_output=lambda *_: own_guest.close())
    with pytest.raises(RuntimeError):
        process.wait()
    assert own_guest.run(["true"]).returncode == 0


def test_a_guest_lives_as_long_as_its_commands(works):
    process = Guest().popen("sleep 0.2; echo on", shell=True)
    gc.collect()
    assert process.communicate() == (b"on\n", b"")
    with pytest.warns(ResourceWarning, match="unclosed guest"):
        del process
        gc.collect()


def test_a_guest_that_is_lost(own_guest):
    process = own_guest.popen("echo partial; sleep 60", shell=True, text=True)
    time.sleep(0.2)
    kill_init_of(own_guest)
    for _ in range(2):
        with pytest.raises(BrokenPipeError) as caught:
            process.wait()
        assert isinstance(caught.value, libguest.GuestError)
        assert (caught.value.stdout, caught.value.stderr) == ("partial\n", "")
        assert caught.value.result.cause == Cause.LOST
    assert (process.returncode, process.stdout) == (-signal.SIGKILL, "partial\n")
    for call in (own_guest.info, own_guest.pause, lambda: own_guest.run(["true"])):
        with pytest.raises(BrokenPipeError):
            call()


def test_a_run_whose_guest_is_lost(own_guest):
    code = "echo partial; sleep 60"
    with pytest.raises(BrokenPipeError) as caught:
        own_guest.run(code, shell=True, on_output=lambda *_: kill_init_of(own_guest))
    assert caught.value.stdout == b"partial\n"
    assert caught.value.result.returncode == -signal.SIGKILL


# The host program


def test_a_fork_leaves_commands_alone(host_program):
    host_program(
        """
        import os, sys
        from libguest import Guest
        with Guest() as guest:
            process = guest.popen("sleep 0.5; echo on", shell=True)
            for leave in (os._exit, sys.exit):
                pid = os.fork()
                if pid == 0:
                    for call in (process.wait, process.poll, process.kill, process.cancel):
                        try:
                            call()
                        except ChildProcessError as error:
                            assert error.stage == "handle"
                        else:
                            os._exit(1)
                    del process
                    leave(0)
                assert os.waitpid(pid, 0)[1] == 0
            assert process.communicate() == (b"on\\n", b"")
        """
    )


def test_a_host_that_exits_while_commands_run(host_program):
    started = time.monotonic()
    host_program(
        """
        import warnings
        from libguest import Guest
        warnings.simplefilter("ignore")
        guest = Guest()
        process = guest.popen(["yes"], on_output=lambda *_: None, capture_output=False)
        other = guest.popen(["sleep", "60"])
        """
    )
    assert time.monotonic() - started < 30


def test_it_raises_what_subprocess_would(guest):
    with guest.popen(["sleep", "0.1"]) as process, pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0)

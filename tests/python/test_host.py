# SPDX-License-Identifier: MIT
"""Manners in the host program, each in one of its own: children, signals, forks, and its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from conftest import BINDINGS

ENVIRONMENT = dict(os.environ, PYTHONPATH=str(BINDINGS), PYTHONDONTWRITEBYTECODE="1")


def test_the_host_has_no_child(host_program):
    host_program(
        """
        import os
        from libguest import Guest
        with Guest() as guest:
            guest.run(["true"])
            try:
                os.wait()
            except ChildProcessError:
                pass
            else:
                raise SystemExit("there is a child")
        """
    )


def test_a_host_that_ignores_sigchld(host_program):
    host_program(
        """
        import signal
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        from libguest import Guest
        for n in range(3):
            with Guest() as guest:
                assert guest.run("exit 3", shell=True).returncode == 3
        assert signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN
        """
    )


def test_a_host_that_reaps_everything(host_program):
    host_program(
        """
        import os, threading, time
        from libguest import Guest, trim
        stop = False
        def reap():
            while not stop:
                try:
                    os.waitpid(-1, os.WNOHANG)
                except ChildProcessError:
                    time.sleep(0.0002)
        thread = threading.Thread(target=reap)
        thread.start()
        for n in range(3):
            with Guest() as guest:
                assert guest.run("exit 3", shell=True).returncode == 3
            trim()
        stop = True
        thread.join()
        """
    )


def test_nothing_is_left_after_trim(host_program):
    """The keeper's parent is gone, so as a subreaper the host inherits it, and sees it end."""
    host_program(
        """
        import ctypes, os, time
        PR_SET_CHILD_SUBREAPER = 36
        assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
        from libguest import Guest, trim

        def fds():
            return len(os.listdir("/proc/self/fd"))

        before = fds()
        with Guest() as one, Guest() as two:
            one.run("sleep 60 & exit 0", shell=True, check=True)
            assert os.waitpid(-1, os.WNOHANG) == (0, 0), "the keeper"
        trim()
        end = time.monotonic() + 1
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            assert time.monotonic() < end, open("/proc/self/task/%d/children" % os.getpid()).read()
            time.sleep(0.01)
        assert fds() == before
        """
    )


def test_a_fork_that_exits(host_program):
    out = host_program(
        """
        import os, sys
        from libguest import Guest
        with Guest() as guest:
            for n in range(5):
                pid = os.fork()
                if pid == 0:
                    if n % 2:
                        os._exit(0)
                    sys.exit(0)
                assert os.waitpid(pid, 0)[1] == 0
                print(guest.run(["echo", "a"], text=True).stdout, end="", flush=True)
        """
    )
    assert out == "a\n" * 5


def test_a_fork_that_uses_the_handle(host_program):
    host_program(
        """
        import os
        from libguest import Guest
        guest = Guest()
        pid = os.fork()
        if pid == 0:
            try:
                guest.run(["true"])
            except ChildProcessError as error:
                assert error.stage == "handle"
                guest.close()
                with Guest() as own:
                    assert own.run(["echo", "own"]).stdout == b"own\\n"
                os._exit(0)
            os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0
        assert guest.run(["echo", "a"]).stdout == b"a\\n"
        guest.close()
        """
    )


def test_a_fork_during_runs_of_other_threads(host_program):
    host_program(
        """
        import os, threading
        from libguest import Guest
        with Guest() as guest:
            threads = [threading.Thread(target=guest.run, args=(["sleep", "1"],)) for n in range(8)]
            for thread in threads:
                thread.start()
            pid = os.fork()
            if pid == 0:
                guest.close()
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            for thread in threads:
                thread.join()
            assert guest.run(["true"]).returncode == 0
        """
    )


def test_multiprocessing_by_fork(host_program):
    out = host_program(
        """
        import multiprocessing
        from libguest import Guest
        guest = Guest()

        def work(n):
            with Guest() as own:
                return own.run(["echo", str(n)], text=True).stdout

        if __name__ == "__main__":
            with multiprocessing.get_context("fork").Pool(4) as pool:
                print("".join(pool.map(work, range(16))), end="")
                pool.close()
                pool.join()
            print(guest.run(["echo", "parent"], text=True).stdout, end="", flush=True)
            guest.close()
        """
    )
    assert out == "".join(f"{n}\n" for n in range(16)) + "parent\n"


def test_a_fork_that_outlives_the_host(works, tmp_path):
    """Guests end with the host, even if a copy of it goes on and holds its sockets."""
    program = """
import os, time
from libguest import Guest
guest = Guest(mounts=[(%r, "/mnt", "noidmap")])
if os.fork() == 0:
    time.sleep(5)
    os._exit(0)
print("ready", flush=True)
guest.run("while :; do echo >> /mnt/beat; sleep 0.05; done", shell=True)
"""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    beat = shared / "beat"
    host = subprocess.Popen(
        [sys.executable, "-c", program % str(shared)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    with host:
        try:
            assert host.stdout.readline() == b"ready\n"
            end = time.monotonic() + 10
            while not beat.exists() and time.monotonic() < end:
                time.sleep(0.05)
            os.kill(host.pid, signal.SIGKILL)
            host.wait()
            time.sleep(1)
            size = beat.stat().st_size
            time.sleep(0.3)
            assert beat.stat().st_size == size
        finally:
            os.killpg(host.pid, signal.SIGKILL)


INTERRUPTED = """
import os, signal, threading, time
from libguest import Guest
signal.signal(signal.SIGINT, signal.default_int_handler)
with Guest() as guest:
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    started = time.monotonic()
    try:
        %s
    except KeyboardInterrupt:
        print(time.monotonic() - started)
    assert b"sleep" not in guest.run(["ps", "-ef"]).stdout
"""


def test_keyboard_interrupt_ends_a_command(host_program):
    call = 'guest.run("sleep 60 & sleep 60", shell=True)'
    assert 0.2 < float(host_program(INTERRUPTED % call)) < 10


def test_keyboard_interrupt_while_a_command_is_waited_for(host_program):
    call = "with guest.popen(['sleep', '60']) as process: process.wait()"
    assert 0.2 < float(host_program(INTERRUPTED % call)) < 10


def test_keyboard_interrupt_of_a_command_with_on_output(host_program):
    for code in ("sleep 60 & sleep 60", "while sleep 0.01; do echo; done"):
        call = f'guest.run("{code}", shell=True, on_output=lambda *_: None)'
        assert 0.2 < float(host_program(INTERRUPTED % call)) < 10


def test_keyboard_interrupt_while_on_output_runs(host_program):
    call = 'guest.run(["yes"], on_output=lambda *_: time.sleep(60), capture_output=False)'
    assert 0.2 < float(host_program(INTERRUPTED % call)) < 10


def test_signals_do_not_disturb_a_run(host_program):
    host_program(
        """
        import signal
        from libguest import Guest
        ticks = []
        signal.signal(signal.SIGALRM, lambda *_: ticks.append(1))
        with Guest() as guest:
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            for n in range(20):
                assert guest.run(["seq", "10000"]).stdout.count(b"\\n") == 10000
            signal.setitimer(signal.ITIMER_REAL, 0)
        assert ticks
        """
    )


def test_a_host_without_standard_streams(works, tmp_path):
    program = """
import os, sys
os.closerange(0, 3)
from libguest import Guest
with Guest() as guest:
    done = guest.run("cat; echo out; echo err >&2", shell=True, input=b"in\\n")
    assert (done.stdout, done.stderr) == (b"in\\nout\\n", b"err\\n"), done
for fd in range(3):
    try:
        os.fstat(fd)
    except OSError:
        continue
    os._exit(3)
os._exit(0)
"""
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, env=ENVIRONMENT, timeout=60).returncode == 0


def test_importing_a_library_that_cannot_be_loaded(tmp_path):
    path = tmp_path / "libguest.so"
    path.write_text("not a library")
    env = dict(ENVIRONMENT, LIBGUEST_LIBRARY=str(path))
    command = [sys.executable, "-c", "import libguest"]
    done = subprocess.run(command, env=env, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert f"ImportError: LIBGUEST_LIBRARY={path}" in done.stderr

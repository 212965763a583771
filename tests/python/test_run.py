# SPDX-License-Identifier: MIT
"""Guest.run(): what it takes, returns and raises."""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import subprocess
import tempfile
import threading
import time

import pytest

import libguest
from libguest import DEVNULL, PIPE, STDOUT, Cause


def test_output_is_bytes(guest):
    done = guest.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (done.returncode, done.stdout, done.stderr) == (3, b"out\n", b"err\n")
    assert done.args == ["sh", "-c", "echo out; echo err >&2; exit 3"]
    assert isinstance(done, subprocess.CompletedProcess)
    assert done.cause == Cause.EXITED
    assert str(done.cause) == "exited"
    assert done.truncated == ()


def test_a_string_is_the_name_of_a_program(guest):
    assert guest.run("hostname").stdout == b"guest\n"
    with pytest.raises(FileNotFoundError):
        guest.run("echo hello")


def test_shell(guest):
    assert guest.run("echo $((6 * 7))", shell=True).stdout == b"42\n"
    assert guest.run(["echo $0", "name"], shell=True).stdout == b"name\n"


def test_args_may_be_bytes_and_paths(guest, tmp_path):
    assert guest.run([b"echo", tmp_path, b"\xff"]).stdout == os.fsencode(tmp_path) + b" \xff\n"


def test_args_may_be_any_iterable(guest):
    assert guest.run(iter(["echo", "a"])).stdout == b"a\n"
    with pytest.raises(FileNotFoundError):
        guest.run(iter(["no-such-command"]))


@pytest.mark.parametrize("args", [["a\0b"], "a\0b", ["echo", b"\0"]])
def test_null_bytes_are_refused(guest, args):
    with pytest.raises(ValueError, match="null"):
        guest.run(args)


def test_bad_arguments(guest):
    with pytest.raises(ValueError):
        guest.run([])
    with pytest.raises(TypeError):
        guest.run([1])
    with pytest.raises(TypeError):
        guest.run(["cat"], input=5)
    with pytest.raises(TypeError):
        guest.run(["cat"], input=b"bytes", text=True)
    with pytest.raises(TypeError):
        guest.run(["cat"], input="text")
    with pytest.raises(ValueError):
        guest.run(["cat"], stdin=PIPE)
    with pytest.raises(ValueError):
        guest.run(["cat"], stdin=DEVNULL, input=b"")
    with pytest.raises(ValueError):
        guest.run(["cat"], stdout=STDOUT)
    for limit in (0, -1, 2**64):
        with pytest.raises(ValueError):
            guest.run(["true"], output_limit=limit)
    with pytest.raises(OSError):
        guest.run(["true"], cwd="relative")
    with pytest.raises(OSError):
        guest.run(["true"], stdout=999999)


@pytest.mark.parametrize("name", ["TERM", "KILL", "SEGV"])
def test_a_signal_is_a_negative_returncode(guest, name):
    done = guest.run(f"kill -{name} $$", shell=True)
    assert done.returncode == -getattr(signal, f"SIG{name}")
    assert done.cause == Cause.SIGNALED


def test_arguments_arrive_as_they_are(guest):
    words = ["", " ", "a b", "'\"\\", "\n", "äöü€😀", "*", "$HOME", "-n"]
    done = guest.run(["python3", "-c", "import sys; print(ascii(sys.argv[1:]))", *words], text=True)
    assert done.stdout == ascii(words) + "\n"


def test_many_arguments(guest):
    words = [f"argument-{n}" for n in range(20000)]
    code = "import sys; print(len(sys.argv), sys.argv[-1])"
    done = guest.run(["python3", "-c", code, *words], text=True)
    assert done.stdout == f"20001 {words[-1]}\n"


def test_too_long_an_argument(guest):
    with pytest.raises(OSError) as caught:
        guest.run(["echo", "x" * (1 << 20)])
    assert caught.value.errno == 7  # E2BIG
    assert guest.run(["echo", "next"]).stdout == b"next\n"


# Errors


def test_missing_command(guest):
    with pytest.raises(FileNotFoundError) as caught:
        guest.run(["no-such-command", "x"])
    error = caught.value
    assert isinstance(error, libguest.GuestError)
    assert (error.errno, error.filename, error.stage) == (2, "no-such-command", "execve")
    assert "no-such-command" in str(error)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (type(error), str(error))
    assert (copy.stage, copy.filename) == ("execve", "no-such-command")


def test_command_that_is_not_executable(guest):
    with pytest.raises(PermissionError) as caught:
        guest.run(["/etc/passwd"])
    assert caught.value.stage == "execve"
    with pytest.raises(PermissionError):
        guest.run(["/etc"])


def test_command_of_no_format(guest):
    guest.run("echo 'exit 0' > /tmp/script; chmod +x /tmp/script", shell=True, check=True)
    with pytest.raises(libguest.GuestError) as caught:
        guest.run(["/tmp/script"])
    assert caught.value.errno == 8  # ENOEXEC


def test_missing_directory(guest):
    with pytest.raises(FileNotFoundError) as caught:
        guest.run(["true"], cwd="/no/such")
    assert (caught.value.filename, caught.value.stage) == ("/no/such", "chdir")
    with pytest.raises(NotADirectoryError):
        guest.run(["true"], cwd="/etc/passwd")


def test_check(guest):
    assert guest.run(["true"], check=True).returncode == 0
    with pytest.raises(subprocess.CalledProcessError) as caught:
        guest.run("echo out; echo err >&2; exit 3", shell=True, check=True)
    error = caught.value
    assert isinstance(error, libguest.CalledProcessError)
    assert (error.returncode, error.stdout, error.stderr) == (3, b"out\n", b"err\n")
    assert error.result.cause == Cause.EXITED
    assert pickle.loads(pickle.dumps(error)).result.stdout == b"out\n"


# Environment


def test_the_hosts_environment_is_not_visible(guest, monkeypatch):
    monkeypatch.setenv("HOST_SECRET", "secret")
    names = [line.split("=")[0] for line in guest.run(["env"], text=True).stdout.splitlines()]
    assert sorted(names) == ["HOME", "LANG", "LOGNAME", "PATH", "TERM", "USER"]


def test_env_is_the_whole_environment(guest):
    done = guest.run(["/usr/bin/env"], env={"A": "1", b"B": "ä=\n"}, text=True)
    assert done.stdout == "A=1\nB=ä=\n\n"
    assert guest.run(["/usr/bin/env"], env={}).stdout == b""
    for name in ("", "A=B"):
        with pytest.raises(ValueError):
            guest.run(["true"], env={name: "1"})


def test_large_environment(guest):
    env = {f"NAME_{n}": "x" * 1000 for n in range(1000)}
    assert guest.run(["/usr/bin/env"], env=env).stdout.count(b"\n") == 1000


def test_path_of_env_is_searched(guest):
    guest.run("mkdir -p /tmp/bin; ln -sf /bin/echo /tmp/bin/repeat", shell=True, check=True)
    assert guest.run(["repeat", "a"], env={"PATH": "/tmp/bin"}).stdout == b"a\n"
    with pytest.raises(FileNotFoundError):
        guest.run(["echo", "a"], env={"PATH": "/tmp/bin"})


def test_cwd(guest):
    assert guest.run(["pwd"]).stdout == b"/\n"
    assert guest.run(["pwd"], cwd="/usr/lib").stdout == b"/usr/lib\n"
    assert guest.run(["./true"], cwd="/bin").returncode == 0


# Text


def test_text(guest):
    done = guest.run(["cat"], input="äöü\r\nx\ry\n", text=True)
    assert done.stdout == "äöü\nx\ny\n"
    assert done.stderr == ""


def test_encoding(guest):
    assert guest.run(["cat"], input="ä", encoding="latin-1").stdout == "ä"
    assert guest.run(["printf", r"\344"], encoding="latin-1").stdout == "ä"


def test_errors(guest):
    with pytest.raises(UnicodeDecodeError):
        guest.run(["printf", r"\377"], text=True)
    assert guest.run(["printf", r"\377"], errors="replace").stdout == "\N{REPLACEMENT CHARACTER}"


def test_text_that_was_cut_in_a_character(guest):
    done = guest.run("printf 'aä'", shell=True, text=True, output_limit=2)
    assert (done.stdout, done.truncated) == ("a", ("stdout",))


# Standard streams


def test_stdin_is_empty(guest):
    assert guest.run(["cat"]).stdout == b""
    assert guest.run(["cat"], stdin=DEVNULL).stdout == b""
    assert guest.run(["cat"], input=b"").stdout == b""


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_input(guest, kind):
    assert guest.run(["cat"], input=kind(b"a\0b\xff")).stdout == b"a\0b\xff"


def test_input_that_is_not_read(guest):
    assert guest.run(["true"], input=b"x" * 1000000).returncode == 0


def test_100_megabytes_and_back(guest):
    data = os.urandom(1 << 20) * 100
    done = guest.run(["cat"], input=data, timeout=60)
    assert len(done.stdout) == len(data)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


def test_files(guest):
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout:
        stdin.write(b"line\n" * 1000)
        stdin.seek(0)
        done = guest.run("cat; echo err >&2", shell=True, stdin=stdin, stdout=stdout)
        assert (done.stdout, done.stderr) == (None, b"err\n")
        stdout.seek(0)
        assert stdout.read() == b"line\n" * 1000


def test_pipes(guest):
    reader, writer = os.pipe()
    try:
        done = guest.run(["sh", "-c", "echo out; echo err >&2"], stdout=writer, stderr=writer)
        assert (done.stdout, done.stderr) == (None, None)
        assert os.read(reader, 100) == b"out\nerr\n"
    finally:
        os.close(reader)
        os.close(writer)


def test_devnull(guest):
    done = guest.run("echo out; echo err >&2", shell=True, stdout=DEVNULL)
    assert (done.stdout, done.stderr) == (None, b"err\n")


def test_stderr_goes_where_stdout_goes(guest):
    done = guest.run("echo 1; echo 2 >&2; echo 3", shell=True, stderr=STDOUT)
    assert (done.stdout, done.stderr) == (b"1\n2\n3\n", None)
    with tempfile.TemporaryFile() as file:
        guest.run("echo 1; echo 2 >&2; echo 3", shell=True, stdout=file, stderr=STDOUT)
        file.seek(0)
        assert file.read() == b"1\n2\n3\n"


def test_nothing_is_captured(guest, capfd):
    done = guest.run("echo out; echo err >&2", shell=True, capture_output=False)
    assert (done.stdout, done.stderr) == (None, None)
    assert capfd.readouterr() == ("out\n", "err\n")


# Time and amounts


def test_timeout(guest):
    started = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired) as caught:
        guest.run("echo before; sleep 60 & sleep 60", shell=True, timeout=0.5)
    assert 0.5 <= time.monotonic() - started < 2
    error = caught.value
    assert isinstance(error, libguest.TimeoutExpired)
    assert (error.timeout, error.stdout, error.stderr) == (0.5, b"before\n", b"")
    assert error.result.cause == Cause.TIMED_OUT
    assert pickle.loads(pickle.dumps(error)).result.cause == Cause.TIMED_OUT
    assert b"sleep" not in guest.run(["ps", "-ef"]).stdout


def test_timeout_of_text_cut_in_a_character(guest):
    with pytest.raises(subprocess.TimeoutExpired) as caught:
        guest.run("printf 'a\\303'; sleep 60", shell=True, text=True, timeout=0.3)
    assert caught.value.stdout == "a"


def test_timeout_that_ignores_signals(guest):
    with pytest.raises(subprocess.TimeoutExpired):
        guest.run("trap '' TERM INT HUP; while :; do :; done", shell=True, timeout=0.2)


@pytest.mark.parametrize("timeout", [0, -1, 1e-12])
def test_timeout_that_is_up_at_once(guest, timeout):
    with pytest.raises(subprocess.TimeoutExpired):
        guest.run(["sleep", "60"], timeout=timeout)


@pytest.mark.parametrize("timeout", [None, 1e12, float("inf")])
def test_timeout_that_is_far_away(guest, timeout):
    assert guest.run(["echo", "a"], timeout=timeout).stdout == b"a\n"


def test_output_limit(guest):
    done = guest.run(["yes"], output_limit=100000, timeout=10)
    assert done.cause == Cause.OUTPUT_LIMIT
    assert done.stdout == b"y\n" * 50000
    assert done.truncated == ("stdout",)
    assert done.returncode == -9
    with pytest.raises(subprocess.CalledProcessError, match="output limit"):
        guest.run(["yes"], output_limit=10, check=True)


def test_output_limit_of_a_command_that_ended(guest):
    with pytest.raises(subprocess.CalledProcessError):
        guest.run(["echo", "hello"], output_limit=2, check=True)


def test_output_of_just_the_limit(guest):
    done = guest.run(["printf", "12345"], output_limit=5, check=True)
    assert (done.stdout, done.truncated) == (b"12345", ())


def test_truncate_output(guest):
    code = "head -c 1000000 /dev/zero; echo err >&2; exit 4"
    done = guest.run(code, shell=True, output_limit=10, truncate_output=True)
    assert (done.returncode, done.cause) == (4, Cause.EXITED)
    assert (done.stdout, done.stderr) == (bytes(10), b"err\n")
    assert done.truncated == ("stdout",)


def test_no_output_limit(guest):
    done = guest.run(["head", "-c", str(300 << 20), "/dev/zero"], output_limit=None)
    assert len(done.stdout) == 300 << 20


def test_usage(guest):
    code = "import time\nx = bytearray(50 << 20)\nwhile time.process_time() < 0.4: pass"
    done = guest.run(["python3", "-c", code])
    assert 0.3 <= done.user_time + done.system_time < 5
    assert done.user_time + done.system_time <= done.wall_time * 1.2
    assert 50 << 20 < done.max_rss < 200 << 20
    assert done.memory_peak is None or done.memory_peak > 0


# on_output


def test_on_output(guest):
    pieces = []
    code = "echo 1; sleep 0.1; echo 2 >&2; sleep 0.1; echo 3"
    done = guest.run(code, shell=True, on_output=lambda stream, data: pieces.append((stream, data)))
    assert pieces == [("stdout", b"1\n"), ("stderr", b"2\n"), ("stdout", b"3\n")]
    assert (done.stdout, done.stderr) == (b"1\n3\n", b"2\n")


def test_on_output_comes_as_it_is_written(guest):
    times = []
    code = "echo 1; sleep 0.5; echo 2"
    guest.run(code, shell=True, on_output=lambda *_: times.append(time.monotonic()))
    assert 0.3 < times[1] - times[0] < 2


def test_on_output_instead_of_capture(guest):
    digest = hashlib.sha256()
    done = guest.run(
        ["head", "-c", str(50 << 20), "/dev/zero"],
        capture_output=False,
        on_output=lambda stream, data: digest.update(data),
    )
    assert (done.stdout, done.stderr) == (None, None)
    assert digest.digest() == hashlib.sha256(bytes(50 << 20)).digest()


def test_a_slow_on_output_holds_the_command_up(guest):
    pieces = []

    def on_output(stream, data):
        if not pieces:
            time.sleep(0.5)
            assert guest.info().output_bytes - before < 4 << 20
        pieces.append(len(data))

    before = guest.info().output_bytes
    guest.run(["head", "-c", str(10 << 20), "/dev/zero"], on_output=on_output, capture_output=False)
    assert sum(pieces) == 10 << 20


def test_on_output_in_this_thread(guest):
    threads = set()
    guest.run(["seq", "100000"], on_output=lambda *_: threads.add(threading.get_ident()))
    assert threads == {threading.get_ident()}


@pytest.mark.parametrize("kind", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_exception_of_on_output(guest, kind):
    def on_output(stream, data):
        raise kind("mine")

    started = time.monotonic()
    with pytest.raises(kind, match="mine"):
        guest.run("echo a; sleep 60", shell=True, on_output=on_output)
    assert time.monotonic() - started < 2


def test_a_run_inside_on_output(guest):
    inner = []

    def on_output(stream, data):
        inner.append(guest.run(["cat"], input=data).stdout)

    guest.run(["echo", "a"], on_output=on_output)
    assert inner == [b"a\n"]


# What a command leaves


def test_background_processes_are_killed(guest):
    started = time.monotonic()
    done = guest.run("sleep 60 & (setsid sleep 60 &) ; echo done", shell=True)
    assert done.stdout == b"done\n"
    assert time.monotonic() - started < 2
    assert b"sleep" not in guest.run(["ps", "-ef"]).stdout


def test_files_stay(guest):
    guest.run("echo kept > /tmp/kept; echo new >> /etc/hosts", shell=True, check=True)
    assert guest.run(["cat", "/tmp/kept"]).stdout == b"kept\n"


def test_host_fds_are_closed(guest):
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        assert guest.run("ls /proc/self/fd", shell=True).stdout.split() == [b"0", b"1", b"2", b"3"]
    finally:
        os.close(reader)
        os.close(writer)

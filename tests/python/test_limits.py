# SPDX-License-Identifier: MIT
"""Limits, budgets, what is told of them, and pauses. Groups enforce them where there are some."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import libguest
from libguest import BudgetExceeded, Cause, Guest, GuestError, Info, Seen

pytestmark = pytest.mark.usefixtures("works")

MIB = 1 << 20
ENFORCERS = {"cgroup2", "cgroup2:systemd", "rlimit", "sampled"}
SPIN = "import time\nwhile time.process_time() < %s: pass"


def use_memory(mib):
    return ["python3", "-c", f"x = b'x' * ({mib} << 20); import time; time.sleep(0.3)"]


def fork(count):
    """It fails after a moment, for what looks at it from time to time."""
    code = f"""
import os, time
try:
    for n in range({count}):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
finally:
    time.sleep(0.2)
"""
    return ["python3", "-c", code]


@pytest.fixture
def group():
    """Whether a group with all controllers can be had here."""
    try:
        Guest(cgroup=True, memory_bytes=256 * MIB, pids_max=100, cpu_quota=1000).close()
    except GuestError as error:
        assert (error.errno, error.stage) == (95, "limits")
        return False
    return True


# Of a guest


def test_memory(group):
    with Guest(memory_bytes=96 * MIB) as guest:
        info = guest.info()
        assert info.memory_bytes == 96 * MIB
        assert info.memory_enforced in ENFORCERS
        assert info.memory_enforced.startswith("cgroup2") == group
        assert guest.run(use_memory(32)).returncode == 0
        done = guest.run(use_memory(128))
        assert (done.returncode, done.cause) == (-signal.SIGKILL, Cause.OOM_KILLED)
        assert Seen.OOM in done.seen
        assert done.memory_enforced == info.memory_enforced
        with pytest.raises(subprocess.CalledProcessError, match="out of memory") as caught:
            guest.run(use_memory(128), check=True)
        assert caught.value.result.cause == Cause.OOM_KILLED


def test_memory_of_many_groups():
    """procfs tells them before the memory, and they may be more than one read takes."""
    program = """if True:
        import os, time
        try:
            os.setgroups(list(range(1, 60001)))
        except OSError:
            pass  # ordinary users without subordinate ids
        memory = b"1" * (200 << 20)
        time.sleep(2)
    """
    with Guest(memory_bytes=64 << 20, best_effort=True) as guest:
        assert guest.run(["python3", "-c", program], timeout=30).cause == Cause.OOM_KILLED


def test_processes():
    with Guest(pids_max=20) as guest:
        assert guest.info().pids_enforced in ENFORCERS
        done = guest.run(fork(40))
        assert done.cause == Cause.TOO_MANY_PROCESSES
        assert Seen.PIDS_MAX in done.seen
        assert guest.run(fork(10)).returncode == 0


def test_full_disk():
    with Guest(writable_bytes=4 * MIB) as guest:
        done = guest.run("head -c 8000000 /dev/zero > /tmp/file", shell=True)
        assert done.cause == Cause.DISK_FULL
        assert done.returncode > 0
        assert done.seen == Seen.DISK_FULL | Seen.SUSPECTED
        assert guest.info().writable_bytes == 4 * MIB
        assert guest.info().writable_used_bytes > 3 * MIB


@pytest.mark.parametrize(
    "name, value",
    [("cpu_quota", 500), ("memory_high_bytes", 64 * MIB), ("cpu_weight", 50), ("io_max", None)],
)
def test_what_takes_a_group_holds_or_is_refused(group, tmp_path, name, value):
    if name == "io_max":
        device = os.stat("/").st_dev
        value = f"{os.major(device)}:{os.minor(device)} rbps=1048576"
    enforced = {
        "cpu_quota": "cpu_enforced",
        "memory_high_bytes": "memory_high_enforced",
        "cpu_weight": "cpu_weight_enforced",
        "io_max": "io_enforced",
    }[name]

    def refused(error):
        assert error.errno == 95 or (name == "io_max" and group), error
        assert name in str(error) or "io.max" in str(error)

    try:
        with Guest(**{name: value}) as guest:
            assert getattr(guest.info(), enforced).startswith("cgroup2")
            assert getattr(guest.run(["true"]), enforced).startswith("cgroup2")
    except GuestError as error:
        refused(error)
    with Guest() as guest:
        try:
            assert getattr(guest.run(["true"], **{name: value}), enforced).startswith("cgroup2")
        except GuestError as error:
            refused(error)
        assert getattr(guest.run(["true"]), enforced) == "none"


def test_best_effort(group):
    with Guest(cpu_quota=500, cpu_weight=50, best_effort=True) as guest:
        told = guest.info().cpu_enforced
        assert told == "none" or (group and told.startswith("cgroup2"))
        assert guest.run(["true"]).cpu_enforced == told


def test_a_group_and_nothing_less(group):
    if not group:
        with pytest.raises(GuestError) as caught:
            Guest(cgroup=True, memory_bytes=64 * MIB, pids_max=20)
        assert caught.value.stage == "limits"
        return
    with Guest(cgroup=True, memory_bytes=64 * MIB) as guest:
        path = guest.info().cgroup
        assert os.path.isdir(path)
        assert guest.run(["true"]).returncode == 0
    assert not os.path.exists(path)


def test_move_host_is_taken():
    with Guest(move_host=True) as guest:
        assert guest.run(["true"]).returncode == 0


def test_bad_limits():
    for config in (
        {"cgroup_parent": "relative"},
        {"cgroup_parent": "/proc/self"},
        {"cpu_weight": 10001},
        {"io_max": "no such line"},
        {"memory_bytes": -1},
        {"pids_max": 2**64},
        {"budget_cpu": float("nan")},
    ):
        with pytest.raises((ValueError, OSError)):
            Guest(**config)
    with Guest() as guest:
        for limits in ({"memory_bytes": -1}, {"cpu_weight": 10001}, {"io_max": "no such line"}):
            with pytest.raises((ValueError, OSError)):
                guest.set_limits(**limits)
        for limits in (
            {"memory_bytes": -1},
            {"pids_max": 2**64},
            {"cpu_time": float("nan")},
            {"cpu_weight": 10001},
        ):
            with pytest.raises((ValueError, OSError)):
                guest.run(["true"], **limits)


# Of a command


def test_memory_of_a_command(own_guest):
    done = own_guest.run(use_memory(128), memory_bytes=64 * MIB)
    assert done.cause == Cause.OOM_KILLED
    assert done.memory_enforced in ENFORCERS
    assert own_guest.run(use_memory(128)).returncode == 0


def test_processes_of_a_command(own_guest):
    done = own_guest.run(fork(40), pids_max=20)
    assert done.cause == Cause.TOO_MANY_PROCESSES
    assert done.pids_enforced in ENFORCERS
    assert own_guest.run(fork(40)).returncode == 0


def test_cpu_time_of_a_command(guest):
    done = guest.run(["python3", "-c", SPIN % 60], cpu_time=0.5)
    assert (done.returncode, done.cause) == (-signal.SIGKILL, Cause.CPU_TIME)
    assert str(done.cause) == "CPU time"
    assert done.cpu_time_enforced in ENFORCERS
    assert 0.4 < done.user_time + done.system_time < 3
    assert guest.run(["true"], cpu_time=float("inf")).cpu_time_enforced == "none"


def test_cpu_quota_of_a_command(own_guest, group):
    try:
        done = own_guest.run(["python3", "-c", SPIN % 0.5], cpu_quota=250)
    except GuestError as error:
        assert (error.errno, error.stage) == (95, "limits")
    else:
        assert done.cpu_enforced.startswith("cgroup2")
        assert done.wall_time > 1.5


def test_rlimits_of_a_command(guest):
    code = "ulimit -v; ulimit -d; ulimit -f; ulimit -n"
    done = guest.run(
        ["bash", "-c", code],
        address_space_bytes=1024 * MIB,
        data_bytes=512 * MIB,
        file_size_bytes=1 * MIB,
        open_files=32,
    )
    assert done.stdout.split() == [b"1048576", b"524288", b"1024", b"32"]


def test_what_is_kept_in_the_background(own_guest):
    code = "(while :; do date +%N > /tmp/new; mv /tmp/new /tmp/now; sleep 0.02; done) & sleep 0.2"
    beat = "cat /tmp/now; sleep 0.3; cat /tmp/now"
    own_guest.run(code, shell=True, keep_background=True, check=True)
    one, two = own_guest.run(beat, shell=True).stdout.split()
    assert one != two


# Changes


def test_set_limits():
    with Guest(memory_bytes=64 * MIB) as guest:
        assert guest.run(use_memory(100)).cause == Cause.OOM_KILLED
        guest.set_limits(memory_bytes=256 * MIB, pids_max=12)
        info = guest.info()
        assert (info.memory_bytes, info.pids_max) == (256 * MIB, 12)
        assert guest.run(use_memory(100)).returncode == 0
        assert guest.run(fork(40)).cause == Cause.TOO_MANY_PROCESSES
        guest.set_limits(pids_max=0)
        info = guest.info()
        assert (info.memory_bytes, info.pids_max) == (256 * MIB, None)
        assert info.pids_enforced == "none"
        assert guest.run(fork(40)).returncode == 0


def test_first_limits(own_guest):
    assert own_guest.info().cgroup is None
    own_guest.set_limits(memory_bytes=64 * MIB)
    assert own_guest.run(use_memory(128)).cause == Cause.OOM_KILLED


# Budgets


def spent(guest, name):
    with pytest.raises(BudgetExceeded, match=name) as caught:
        guest.run(["true"])
    assert isinstance(caught.value, GuestError)
    assert (caught.value.stage, caught.value.result) == ("budget", None)
    with pytest.raises(BudgetExceeded):
        guest.popen(["true"])
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), BudgetExceeded)
    return True


def test_budget_of_commands():
    def run(n):
        try:
            return guest.run(["true"]).returncode
        except BudgetExceeded:
            return None

    with Guest(budget_commands=5) as guest, ThreadPoolExecutor(16) as pool:
        assert sorted(pool.map(run, range(16)), key=str) == [0] * 5 + [None] * 11
        assert guest.info().commands == 5
        assert spent(guest, "commands")


def test_budget_of_cpu_time():
    with Guest(budget_cpu=0.5) as guest:
        done = guest.run(["python3", "-c", SPIN % 60])
        assert (done.cause, Seen.BUDGET in done.seen) == (Cause.CPU_TIME, True)
        assert guest.info().cpu_time > 0.4
        assert spent(guest, "CPU time")


@pytest.mark.parametrize("timeout", [None, 60])
def test_budget_of_wall_time(timeout):
    with Guest(budget_wall=0.7) as guest:
        done = guest.run("echo before; sleep 60", shell=True, timeout=timeout)
        assert (done.cause, done.seen, done.stdout) == (Cause.TIMED_OUT, Seen.BUDGET, b"before\n")
        assert guest.info().wall_time >= 0.7
        with pytest.raises(subprocess.CalledProcessError, match="timed out"):
            done.check_returncode()
        assert spent(guest, "wall time")


def test_a_timeout_before_a_budget_of_wall_time():
    with Guest(budget_wall=60) as guest, pytest.raises(libguest.TimeoutExpired):
        guest.run(["sleep", "60"], timeout=0.1)


def test_budget_of_output():
    with Guest(budget_output_bytes=1000) as guest:
        assert guest.run(["head", "-c", "400", "/dev/zero"]).stdout_bytes == 400
        done = guest.run(["yes"])
        assert (done.cause, done.seen) == (Cause.OUTPUT_LIMIT, Seen.BUDGET)
        assert spent(guest, "output")


def test_budget_of_written_bytes():
    with Guest(budget_written_bytes=100000) as guest:
        done = guest.run("head -c 60000 /dev/zero > /tmp/x", shell=True)
        assert 60000 <= done.written_bytes < 70000
        guest.run("head -c 60000 /dev/zero > /tmp/x", shell=True, check=True)
        assert guest.info().written_bytes >= 120000
        assert spent(guest, "written bytes")


# What is told


def test_without_libmount(tmp_path):
    """What only control groups can do is refused, and the rest is done without them, as on a host that has none."""
    (tmp_path / "libmount.so.1").write_bytes(b"")
    program = """if True:
        import libguest
        with libguest.Guest(memory_bytes=256 << 20) as guest:
            print(guest.info().memory_enforced)
            print(guest.run(["true"], memory_bytes=128 << 20).memory_enforced)
            try:
                guest.run(["true"], cpu_quota=50)
            except libguest.GuestError as error:
                print("libmount.so.1" in str(error))
        print([f.status.name for f in libguest.doctor() if f.name == "cgroup2"])
        try:
            libguest.Guest(mounts=[(None, "/mnt", "ro")])
        except libguest.GuestError as error:
            print(error.stage)
    """
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, stdout=-1, text=True)
    assert done.stdout.splitlines() == ["sampled", "sampled", "True", "['NOTE']", "config"]


def test_info(own_guest, group):
    info = own_guest.info()
    assert isinstance(info, Info)
    assert (info.running, info.commands, info.memory_bytes) == (0, 0, None)
    assert info.memory_enforced == info.pids_enforced == info.io_enforced == "none"
    assert (info.writable_bytes, info.writable_inodes) == (1 << 30, 1 << 20)
    with own_guest.popen(["sleep", "60"]) as process:
        assert own_guest.info().running == 1
        process.cancel()
    own_guest.run("head -c 1000 /dev/zero; head -c 2000000 /dev/zero > /tmp/x", shell=True)
    info = own_guest.info()
    assert (info.running, info.commands, info.output_bytes) == (0, 2, 1000)
    assert info.writable_used_bytes >= 2000000
    assert info.writable_used_inodes > 0
    assert info.cpu_time > 0 < info.wall_time
    with Guest(memory_bytes=64 * MIB) as guest, guest.popen(["sleep", "60"]) as process:
        assert (guest.info().memory_now_bytes is not None) == group
        assert (guest.info().processes_now is not None) == group
        process.cancel()


def test_usage(guest):
    done = guest.run("head -c 1000; echo err >&2", shell=True, input=bytes(5000))
    assert 1000 <= done.stdin_bytes <= 5000
    assert (done.stdout_bytes, done.stderr_bytes) == (1000, 4)
    assert done.minor_faults > 0 <= done.major_faults
    assert 0 < done.setup_time <= done.wall_time
    assert done.seen == Seen(0)
    assert done.written_bytes is None
    assert done.memory_enforced == done.cpu_time_enforced == "none"
    done = guest.run(["seq", "100"], output_limit=10, truncate_output=True)
    assert (done.stdout_bytes, len(done.stdout)) == (292, 10)


# Pauses


@pytest.mark.parametrize("limits", [{}, {"pids_max": 50}])
def test_pause(limits):
    with Guest(**limits) as guest:
        with guest.popen("while :; do echo; sleep 0.01; done", shell=True) as process:
            time.sleep(0.3)
            guest.pause()
            time.sleep(0.05)
            before = guest.info().output_bytes
            time.sleep(0.3)
            assert guest.info().output_bytes == before > 0
            guest.resume()
            end = time.monotonic() + 30
            while guest.info().output_bytes == before:
                assert time.monotonic() < end
                time.sleep(0.01)
            guest.pause()
            process.cancel()
            assert process.wait(30) == -signal.SIGKILL
        guest.resume()
        assert guest.run(["echo", "on"]).stdout == b"on\n"


def test_a_command_that_is_started_in_a_pause_waits(own_guest):
    own_guest.pause()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(own_guest.run, ["echo", "on"])
        time.sleep(0.3)
        assert not future.done()
        own_guest.resume()
        assert future.result(30).stdout == b"on\n"

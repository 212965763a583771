# SPDX-License-Identifier: MIT
"""What became of a command."""

from __future__ import annotations

import ctypes
import enum
import subprocess
from typing import TYPE_CHECKING, Any, Optional, Sequence, Tuple, Union

from . import _abi
from ._errors import CalledProcessError, TimeoutExpired
from ._text import Codec

if TYPE_CHECKING:
    _Base = subprocess.CompletedProcess[Any]
else:
    _Base = subprocess.CompletedProcess

_INT_MAX = 2**31 - 1  # string_at() takes an int


class Cause(enum.IntEnum):
    """Why a command ended."""

    UNKNOWN = 0
    EXITED = _abi.GUEST_EXITED
    SIGNALED = _abi.GUEST_SIGNALED
    TIMED_OUT = _abi.GUEST_TIMED_OUT
    OOM_KILLED = _abi.GUEST_OOM_KILLED
    OUTPUT_LIMIT = _abi.GUEST_OUTPUT_LIMIT
    CANCELLED = _abi.GUEST_CANCELLED
    CPU_TIME = _abi.GUEST_CPU_TIME
    TOO_MANY_PROCESSES = _abi.GUEST_TOO_MANY_PROCESSES
    DISK_FULL = _abi.GUEST_DISK_FULL
    SECCOMP_KILLED = _abi.GUEST_SECCOMP_KILLED
    LOST = _abi.GUEST_LOST

    @classmethod
    def _missing_(cls, value: object) -> Cause:
        return cls.UNKNOWN

    def __str__(self) -> str:
        return str(_abi.lib.guest_cause_name(self.value).decode())


class Seen(enum.IntFlag):
    """What was noticed of a command's limits."""

    OOM = _abi.GUEST_SEEN_OOM  # a process of it was killed for want of memory
    PIDS_MAX = _abi.GUEST_SEEN_PIDS_MAX  # a fork was refused by pids_max
    DISK_FULL = _abi.GUEST_SEEN_DISK_FULL  # at its end what the guest may write was used up
    BUDGET = _abi.GUEST_SEEN_BUDGET  # the limit that ended it was one of the guest's budgets
    SUSPECTED = _abi.GUEST_SEEN_SUSPECTED  # the cause is the likely one, not a certain one


class CompletedProcess(_Base):
    """A command that has ended, as Guest.run() returns it.

    Attributes, besides those of subprocess.CompletedProcess (args, returncode, stdout, stderr):
      cause        why it ended: a Cause
      seen         what was noticed of its limits: a Seen, as in "Seen.OOM in result.seen"
      truncated    the streams, "stdout" or "stderr", of which more had been written than is here
      wall_time    seconds from the request to the end of the command
      setup_time   seconds of them until it was executed
      user_time    seconds of CPU time: with cgroup v2 of all its processes, else of the command and
                   of its descendants that were waited for
      system_time  the same, spent in the kernel
      max_rss      resident set of the largest single process among them, in bytes
      memory_peak  of all its processes together, in bytes; None if not known
      processes    most at once, threads included; None if not known
      minor_faults, major_faults  page faults of the processes that user_time is of
      stdin_bytes   of input that have been read
      stdout_bytes, stderr_bytes  that arrived, kept or not
      written_bytes  by write(2), to whatever it be; None if not known (it takes a
                   budget_written_bytes)
      memory_enforced, memory_high_enforced, pids_enforced, cpu_enforced, cpu_weight_enforced,
      io_enforced, cpu_time_enforced
                   what enforced the limits that held for it, its own or the guest's: "cgroup2",
                   "cgroup2:systemd", "rlimit" or "sampled", or "none" where there was no limit
    """

    cause: Cause = Cause.UNKNOWN
    seen: Seen = Seen(0)
    truncated: Tuple[str, ...] = ()
    wall_time: float = 0.0
    setup_time: float = 0.0
    user_time: float = 0.0
    system_time: float = 0.0
    max_rss: int = 0
    memory_peak: Optional[int] = None
    processes: Optional[int] = None
    minor_faults: int = 0
    major_faults: int = 0
    stdin_bytes: int = 0
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    written_bytes: Optional[int] = None
    memory_enforced: str = "none"
    memory_high_enforced: str = "none"
    pids_enforced: str = "none"
    cpu_enforced: str = "none"
    cpu_weight_enforced: str = "none"
    io_enforced: str = "none"
    cpu_time_enforced: str = "none"

    def check_returncode(self) -> None:
        """Raise CalledProcessError unless the command ended by itself, with exit status 0."""
        if self.returncode == 0 and self.cause == Cause.EXITED:
            return
        error = CalledProcessError(self.returncode, self.args, self.stdout, self.stderr)
        error.result = self
        raise error

    def _check(self, timeout: Optional[float], check: bool) -> CompletedProcess:
        """Raise what run() raises for it."""
        if self.cause == Cause.TIMED_OUT and Seen.BUDGET not in self.seen:
            assert timeout is not None
            error = TimeoutExpired(self.args, timeout, self.stdout, self.stderr)
            error.result = self
            raise error
        if check:
            self.check_returncode()
        return self


def enforcer(number: int) -> str:
    """The name of what enforces a limit."""
    return str(_abi.lib.guest_enforcer_name(number).decode())


def result_from(
    result: _abi.guest_result, args: Any, stored: Sequence[bool], codec: Optional[Codec]
) -> CompletedProcess:
    """Copy a guest_result. A stream of stdout and stderr that is not stored is None."""
    whole = result.cause == Cause.EXITED and not result.truncated

    def read(address: int, size: int) -> Union[str, bytes]:
        data = _bytes_at(address, size)
        return codec.decode(data, whole) if codec else data

    returncode = -result.term_signal if result.term_signal else result.exit_code
    completed = CompletedProcess(
        args,
        returncode,
        read(result.stdout_data, result.stdout_size) if stored[0] else None,
        read(result.stderr_data, result.stderr_size) if stored[1] else None,
    )
    completed.cause = Cause(result.cause)
    completed.truncated = tuple(
        name
        for name, bit in (("stdout", _abi.GUEST_STDOUT), ("stderr", _abi.GUEST_STDERR))
        if result.truncated & bit
    )
    completed.seen = Seen(result.seen)
    completed.max_rss = result.max_rss_bytes
    completed.memory_peak = result.memory_peak_bytes or None
    completed.processes = result.processes or None
    completed.written_bytes = result.written_bytes or None
    for name in ("wall", "setup", "user", "system"):
        setattr(completed, f"{name}_time", getattr(result, f"{name}_ns") / 1e9)
    for name in ("minor_faults", "major_faults", "stdin_bytes", "stdout_bytes", "stderr_bytes"):
        setattr(completed, name, getattr(result, name))
    for name in ("memory", "memory_high", "pids", "cpu", "cpu_weight", "io", "cpu_time"):
        name += "_enforced"
        setattr(completed, name, enforcer(getattr(result, name)))
    return completed


def _bytes_at(address: int, size: int) -> bytes:
    if size <= _INT_MAX:
        return ctypes.string_at(address, size)
    return bytes((ctypes.c_char * size).from_address(address))

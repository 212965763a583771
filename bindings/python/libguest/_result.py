# SPDX-License-Identifier: MIT
"""What became of a command."""

from __future__ import annotations

import ctypes
import enum
import subprocess
from typing import TYPE_CHECKING, Any, Optional, Sequence, Tuple, Union

from . import _abi
from ._errors import CalledProcessError
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

    @classmethod
    def _missing_(cls, value: object) -> Cause:
        return cls.UNKNOWN

    def __str__(self) -> str:
        return str(_abi.lib.guest_cause_name(self.value).decode())


class CompletedProcess(_Base):
    """A command that has ended, as Guest.run() returns it.

    Attributes, besides those of subprocess.CompletedProcess (args, returncode, stdout, stderr):
      cause        why it ended: a Cause
      truncated    the streams, "stdout" or "stderr", of which more had been written than is here
      wall_time    seconds from the request to the end of the command
      user_time    seconds of CPU time of the command and of its children that it waited for
      system_time  the same, spent in the kernel
      max_rss      resident set of the largest single process among them, in bytes
      memory_peak  of all its processes together, in bytes; None if not known (it takes cgroup v2)
    """

    cause: Cause = Cause.UNKNOWN
    truncated: Tuple[str, ...] = ()
    wall_time: float = 0.0
    user_time: float = 0.0
    system_time: float = 0.0
    max_rss: int = 0
    memory_peak: Optional[int] = None

    def check_returncode(self) -> None:
        """Raise CalledProcessError unless the command ended by itself, with exit status 0."""
        if self.returncode == 0 and self.cause == Cause.EXITED:
            return
        error = CalledProcessError(self.returncode, self.args, self.stdout, self.stderr)
        error.result = self
        raise error


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
    completed.wall_time = result.wall_ns / 1e9
    completed.user_time = result.user_ns / 1e9
    completed.system_time = result.system_ns / 1e9
    completed.max_rss = result.max_rss_bytes
    completed.memory_peak = result.memory_peak_bytes or None
    return completed


def _bytes_at(address: int, size: int) -> bytes:
    if size <= _INT_MAX:
        return ctypes.string_at(address, size)
    return bytes((ctypes.c_char * size).from_address(address))

# SPDX-License-Identifier: MIT
"""The exceptions."""

from __future__ import annotations

import ctypes
import os
import subprocess
from typing import TYPE_CHECKING, Any, Dict, Optional, Type

from . import _abi

if TYPE_CHECKING:
    from ._result import CompletedProcess


class GuestError(OSError):
    """A guest could not be made or used, or a command could not be started.

    It is also of the class that the interpreter itself would raise for its errno:
    FileNotFoundError, PermissionError, ChildProcessError, BrokenPipeError and so on.

    Attributes:
      errno     what kind of failure it is
      strerror  one line: the step, what it was about, the errno in words, and the remedy if known
      stage     the step that failed: "uid_map", "mount /proc", "chdir", "execve", ...
      filename  the command or the directory, if one of them was the reason
      stdout, stderr, result
                what a command had written, and its CompletedProcess, if the guest was lost while it
                ran (a BrokenPipeError); else None
    """

    stage: str = "unknown"
    result: Optional[CompletedProcess] = None

    @property
    def stdout(self) -> Any:
        return self.result.stdout if self.result else None

    @property
    def stderr(self) -> Any:
        return self.result.stderr if self.result else None

    def __str__(self) -> str:
        return f"[Errno {self.errno}] {self.strerror}"


class GuestFileNotFoundError(GuestError, FileNotFoundError):
    pass


class GuestPermissionError(GuestError, PermissionError):
    pass


class GuestNotADirectoryError(GuestError, NotADirectoryError):
    pass


class GuestChildProcessError(GuestError, ChildProcessError):
    pass


class GuestBrokenPipeError(GuestError, BrokenPipeError):
    pass


class GuestBlockingIOError(GuestError, BlockingIOError):
    pass


class GuestTimeoutError(GuestError, TimeoutError):
    pass


# OSError(errno, ...) knows which class belongs to an errno.
_CLASSES: Dict[type, Type[GuestError]] = {
    kind.__bases__[1]: kind for kind in GuestError.__subclasses__()
}


class BudgetExceeded(GuestError):
    """A budget of the guest is spent: it starts no command any more."""


def new_error() -> _abi.guest_error:
    return _abi.guest_error(size=ctypes.sizeof(_abi.guest_error))


def error_from(error: _abi.guest_error) -> GuestError:
    """The exception that a guest_error stands for."""
    stage = _abi.lib.guest_stage_name(error.stage).decode()
    kind = _CLASSES.get(type(OSError(-error.code, "")), GuestError)
    if stage == "budget":
        kind = BudgetExceeded
    exception = kind(-error.code, error.message.decode(errors="replace"))
    exception.stage = stage
    return exception


def failure(error: _abi.guest_error, command: bytes, cwd: Any) -> GuestError:
    """The exception for an error of a command, with the file that it is about."""
    exception = error_from(error)
    if exception.stage == "chdir":
        exception.filename = os.fsdecode(cwd)
    elif exception.stage == "execve":
        exception.filename = os.fsdecode(command)
    return exception


class TimeoutExpired(subprocess.TimeoutExpired):
    """A command was still running when its time was up.

    If run() raises it, the command has been killed with all it had started. If wait() or
    communicate() of a Process does, it goes on, and the attributes but cmd and timeout are None.

    Attributes:
      cmd, timeout    the command, and what run(), wait() or communicate() was given
      stdout, stderr  what it had written by then, as str in text mode
      result          the CompletedProcess, with what it used
    """

    result: Optional[CompletedProcess] = None


class CalledProcessError(subprocess.CalledProcessError):
    """A command failed and run() had been called with check=True.

    Attributes:
      cmd, returncode, stdout, stderr  as those of subprocess.CalledProcessError
      result                           the CompletedProcess, with the cause of the end
    """

    result: Optional[CompletedProcess] = None

    def __str__(self) -> str:
        text = super().__str__()
        if self.result is None or self.result.cause <= _abi.GUEST_SIGNALED:  # then it says all
            return text
        return f"{text} ({self.result.cause})"

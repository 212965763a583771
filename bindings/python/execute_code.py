# SPDX-License-Identifier: MIT
"""Run commands in a guest, in three calls.

    init_guest()
    exit_code, stdout, stderr = run_in_guest(["bash", "-c", "echo Hello from Ubuntu"])
    shutdown_guest()

There is one guest for the process; what a command leaves behind in it, the next one finds. All
calls may be made from any thread. libguest.Guest is the interface to use for more.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from typing import Optional, Sequence, Tuple

from libguest import Cause, Guest, GuestError

__all__ = ["init_guest", "run_in_guest", "shutdown_guest"]

_lock = threading.Lock()
_guest: Optional[Guest] = None


def init_guest() -> None:
    """Make the guest. If there is one already, nothing happens."""
    _get_guest()


def run_in_guest(cmd: Sequence[str]) -> Tuple[int, str, str]:
    """Run a command, a list of strings, and return its exit code, stdout and stderr.

    Output is decoded as UTF-8, with a replacement character for what is not. The exit code is what
    a shell would report: 127 for a command that does not exist and 126 for one that cannot be
    executed, with a message in stderr, and 128 + n for one that was killed by signal n.

    The guest is made if there is none. GuestError is raised if it cannot be made.
    """
    try:
        result = _get_guest().run(cmd)
    except GuestError as error:
        if error.stage != "execve":
            raise
        return _not_started(error)
    code = result.returncode if result.returncode >= 0 else 128 - result.returncode
    if result.cause == Cause.OUTPUT_LIMIT:
        code = 128 + signal.SIGKILL
    return code, result.stdout.decode("utf-8", "replace"), result.stderr.decode("utf-8", "replace")


def shutdown_guest() -> None:
    """End the guest and whatever runs in it. Without a guest, nothing happens."""
    global _guest
    with _lock:
        guest, _guest = _guest, None
    if guest is not None:
        guest.close()


def _get_guest() -> Guest:
    global _guest
    with _lock:
        if _guest is None:
            _guest = Guest()
        return _guest


def _not_started(error: GuestError) -> Tuple[int, str, str]:
    if not isinstance(error, FileNotFoundError):
        return 126, "", f"{error.filename}: {os.strerror(error.errno)}\n"
    if "/" in error.filename:
        return 127, "", f"{error.filename}: {os.strerror(error.errno)}\n"
    return 127, "", f"{error.filename}: command not found\n"


def _after_fork_in_child() -> None:
    """The guest is the parent's, and the lock may be held by a thread that is not here."""
    global _guest, _lock
    _lock = threading.Lock()
    guest, _guest = _guest, None
    if guest is not None:
        guest.close()


os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(shutdown_guest)


def _demo() -> None:
    init_guest()
    for cmd in (
        ["bash", "-c", "echo Hello from Ubuntu"],
        ["/bin/ls", "/bin"],
        ["python3", "-c", "import sys; print(sys.version)"],
        ["sh", "-c", "echo no such luck >&2; exit 3"],
        ["no-such-command"],
    ):
        exit_code, stdout, stderr = run_in_guest(cmd)
        print(f"$ {' '.join(cmd)}\nexit code {exit_code}\n{stdout}{stderr}")
    shutdown_guest()


if __name__ == "__main__":
    _demo()

# SPDX-License-Identifier: MIT
"""A private Linux userland as a function call.

    from libguest import Guest

    with Guest() as guest:
        print(guest.run(["uname", "-a"], text=True).stdout)

A guest is a throw-away Debian userland in namespaces of its own. It needs no root, no daemon and no
image. Guest.run() is shaped after subprocess.run(): what it takes, returns and raises is what
subprocess would, unless its documentation says otherwise.

Guest.popen() starts a command and goes on, and Guest.run_async() is for event loops. A Pool has
guests made ahead.

What goes wrong with a guest, or keeps a command from starting, is a GuestError, which is an
OSError: a missing command is a FileNotFoundError as well, and so on. What a command does once it
has started is told by a CompletedProcess, TimeoutExpired or CalledProcessError.

The shared library is the one that the environment variable LIBGUEST_LIBRARY names, or else one that
was installed together with this package, or one in the build tree of a source checkout, or the one
that the dynamic linker finds.
"""

from __future__ import annotations

from subprocess import DEVNULL, PIPE, STDOUT

from ._config import Mount
from ._errors import BudgetExceeded, CalledProcessError, GuestError, TimeoutExpired
from ._guest import Guest
from ._info import Info
from ._library import Finding, Status, doctor, rootfs_description, trim, version
from ._pool import Pool
from ._process import Process
from ._result import Cause, CompletedProcess, Seen

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "BudgetExceeded",
    "CalledProcessError",
    "Cause",
    "CompletedProcess",
    "Finding",
    "Guest",
    "GuestError",
    "Info",
    "Mount",
    "Pool",
    "Process",
    "Seen",
    "Status",
    "TimeoutExpired",
    "doctor",
    "rootfs_description",
    "trim",
    "version",
]

__version__ = version()

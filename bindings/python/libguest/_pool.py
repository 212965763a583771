# SPDX-License-Identifier: MIT
"""Guests made ahead."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from . import _abi
from ._config import Settings, config_from
from ._guest import Guest
from ._handle import Handle
from ._text import unsigned

if TYPE_CHECKING:
    from typing_extensions import Unpack

_UINT32_MAX = 2**32 - 1


class Pool(Handle):
    """Guests that are ready before they are needed.

        with Pool(8, memory_bytes=256 << 20) as pool:
            with pool.take() as guest:
                guest.run(["python3", "job.py"])

    size is how many are kept ready, 1 to 1024; the other arguments are those of Guest, given by
    name. The first guest is made at once, and what Guest() would raise is raised here. The others
    are made by a thread of the library, as is one more for each that is taken.

    A relative path goes on to mean what it means now. What is there under a path is looked up when
    a guest is made, not when it is taken. A rootfs given as an fd may be closed.

    A pool is a context manager, and is closed at the end of the with block. It can be used by any
    number of threads at once. It belongs to the process that made it: in a forked child take()
    raises ChildProcessError, and closing it there leaves its guests alone.
    """

    _kind = "pool"
    _shut = _abi.lib.guest_pool_shutdown

    def __init__(self, size: int, **settings: Unpack[Settings]) -> None:
        size = unsigned("size", size, _UINT32_MAX)
        self._open(_abi.lib.guest_pool_init, config_from(settings), size)

    def take(self) -> Guest:
        """Take the guest that has been ready for the longest time, or make one if none is.

        It is the caller's, to be closed like any other; the end of the pool does not touch it. Its
        budgets begin now.
        """
        guest = Guest.__new__(Guest)
        with self._in_use() as pool:
            guest._open(functools.partial(_abi.lib.guest_pool_take, pool))
        return guest

    @property
    def ready(self) -> int:
        """How many guests are ready now."""
        with self._in_use() as handle:
            return int(_abi.lib.guest_pool_ready(handle))

    def close(self) -> None:
        """End the guests that nobody has taken. Those that were taken are not touched.

        It waits for calls of take() in other threads; new ones raise ValueError from now on.
        Closing a pool again does nothing.
        """
        super().close()

    shutdown = close

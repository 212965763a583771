# SPDX-License-Identifier: MIT
"""What Guest and Pool have in common: a handle of the library, and who may use it when."""

from __future__ import annotations

import ctypes
import os
import threading
import warnings
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Callable, Iterator, List, Optional, Type, TypeVar

from ._errors import GuestError, error_from, new_error

_Self = TypeVar("_Self", bound="Handle")


class Handle:
    """Something that any number of threads use until one of them closes it."""

    _kind: str  # in words
    _shut: Any  # the library's function that ends it
    _handle: Optional[ctypes.c_void_p] = None

    def _open(self, function: Callable[..., int], *arguments: Any) -> None:
        """Have the library make it."""
        self._pid = os.getpid()
        self._changed = threading.Condition(threading.Lock())
        self._users: List[int] = []  # the threads of the calls under way
        self._closing = False
        self._handle = ctypes.c_void_p()
        error = new_error()
        if function(self._handle, *arguments, error) < 0:
            self._handle = None
            raise error_from(error)

    def _call(self, function: Callable[..., int], *arguments: Any) -> None:
        error = new_error()
        with self._in_use() as handle:
            if function(handle, *arguments, error) < 0:
                raise error_from(error)

    @contextmanager
    def _in_use(self) -> Iterator[Optional[ctypes.c_void_p]]:
        """The handle, with this thread among those that close() waits for."""
        if self._forked():  # the lock may be held by a thread that is not here; this is -ECHILD
            self._check_open()
            yield self._handle
            return
        thread = threading.get_ident()
        with self._changed:
            self._check_open()
            self._users.append(thread)
        try:
            yield self._handle
        finally:
            with self._changed:
                self._users.remove(thread)
                self._changed.notify_all()

    def _forked(self) -> bool:
        return os.getpid() != self._pid

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError(f"operation on closed {self._kind}")

    @property
    def closed(self) -> bool:
        """Whether it has been closed, or is being closed."""
        return self._handle is None or self._closing

    def close(self) -> None:
        if self._handle is None:
            return
        if self._forked():
            self._shutdown()
            return
        with self._changed:
            if self._is_used_here():
                raise RuntimeError(f"a {self._kind} cannot be closed while this thread uses it")
            self._closing = True
            while self._users:
                self._changed.wait()
        self._before_shutdown()
        with self._changed:
            if self._handle is None:
                return
            error = self._shutdown()
        if error:
            raise error

    def _is_used_here(self) -> bool:
        """Whether this thread would wait for itself."""
        return threading.get_ident() in self._users

    def _before_shutdown(self) -> None:
        pass

    def _shutdown(self) -> Optional[GuestError]:
        handle, self._handle = self._handle, None
        error = new_error()
        return error_from(error) if self._shut(handle, error) < 0 else None

    def __enter__(self: _Self) -> _Self:
        self._check_open()
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc_value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._handle is None:
            return
        if not self._forked():
            warnings.warn(f"unclosed {self._kind} {self!r}", ResourceWarning, source=self)
        self._shutdown()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'closed' if self.closed else 'open'} at {id(self):#x}>"

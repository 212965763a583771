# SPDX-License-Identifier: MIT
"""Commands that run while the caller does something else."""

from __future__ import annotations

import atexit
import ctypes
import errno
import functools
import queue
import select
import signal
import threading
import time
import warnings
import weakref
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple, Type

from . import _abi
from ._command import Command, OnOutput
from ._errors import TimeoutExpired, error_from, failure, new_error
from ._result import CompletedProcess
from ._text import unsigned

if TYPE_CHECKING:
    from ._guest import Guest

_POLL_MAX = 1e6  # seconds; poll(2) has milliseconds in an int
_PIECES_MAX = 16  # of output, on their way from one thread to another


class Process:
    """A command under way, as Guest.popen() returns it.

    It is shaped after subprocess.Popen, but has no pid (that of the guest means nothing out here)
    and no pipes: its input is given to popen(), and its output is stored until its end.

    A Process is a context manager: leaving the block waits for the command, or if an exception
    leaves it ends the command first. A Process that is dropped ends its command.

    All methods may be called from any thread.

    Attributes:
      args        what popen() was given
      returncode  as that of subprocess.Popen: None until wait(), poll() or communicate() has told
                  of the end
      result      then the CompletedProcess, with the cause of the end and what the command used
      stdout, stderr
                  then what it has written, as str in text mode; None if that is not stored
    """

    returncode: Optional[int] = None
    result: Optional[CompletedProcess] = None
    _ended = True  # its outcome is here; or it has not begun
    _handle = ctypes.c_void_p()

    def __init__(self, guest: Guest, handle: Optional[ctypes.c_void_p], command: Command) -> None:
        self.args = command.args
        self._guest = guest  # which is not to be dropped while this is here
        self._command = command  # with on_output, which is called until the end
        self._lock = threading.Lock()
        self._error: Optional[BaseException] = None  # what came instead of a result
        self._waiting = 0  # threads that use the fd
        self._handle = ctypes.c_void_p()
        error = new_error()
        if _abi.lib.guest_spawn(handle, command.struct, self._handle, error) < 0:
            raise failure(error, command.words[0], command.cwd)
        self._ended = False
        _running[id(self)] = weakref.ref(self)

    def poll(self) -> Optional[int]:
        """Return the returncode if the command has ended, else None; raise what wait() does."""
        return int(self._outcome().returncode) if self._ends(0) else None

    def wait(self, timeout: Optional[float] = None) -> int:
        """Wait for the end of the command, and return its returncode.

        TimeoutExpired is raised if it still runs after timeout seconds; it goes on running. What
        on_output has raised comes out of here, and so does a BrokenPipeError if the guest was lost.
        """
        if not self._ends(timeout):
            assert timeout is not None
            raise TimeoutExpired(self.args, timeout)
        return int(self._outcome().returncode)

    def communicate(self, timeout: Optional[float] = None) -> Tuple[Any, Any]:
        """Wait for the end of the command, and return its stdout and stderr.

        After a TimeoutExpired it may be called again; no output is lost.
        """
        self.wait(timeout)
        return self.stdout, self.stderr

    @property
    def stdout(self) -> Any:
        return self.result.stdout if self.result else None

    @property
    def stderr(self) -> Any:
        return self.result.stderr if self.result else None

    def send_signal(self, sig: int) -> None:
        """Send a signal to the command itself, but not to what it has started.

        If it has ended, nothing happens.
        """
        number = unsigned("signal", sig, 2**31 - 1)
        self._call(lambda error: _abi.lib.guest_kill(self._handle, number, error))

    def terminate(self) -> None:
        """Send SIGTERM to the command itself."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the command itself. What it has started ends when it has."""
        self.send_signal(signal.SIGKILL)

    def cancel(self) -> None:
        """End the command with all that it has started; the cause will be Cause.CANCELLED.

        If it has ended, nothing happens. It does not wait for the end.
        """
        self._call(lambda error: _abi.lib.guest_cancel(self._handle, error))

    def fileno(self) -> int:
        """An fd for select, poll and event loops: it becomes readable when the command has ended.

        It is not to be read or closed. It is gone when poll(), wait() or communicate() has told of
        the end, and so must be taken out of an event loop before; from then on this raises
        ValueError.
        """
        with self._lock:
            if self._ended:
                raise ValueError("the command has been waited for")
            return int(_abi.lib.guest_process_fd(self._handle))

    def _call(self, call: Callable[[_abi.guest_error], Any]) -> None:
        self._check_fork()
        error = new_error()
        with self._lock:
            r = 0 if self._ended else call(error)
        if r < 0 and r != -errno.ESRCH:
            raise error_from(error)

    def _ends(self, timeout: Optional[float]) -> bool:
        """Whether the command ends in time. Signal handlers run meanwhile."""
        self._check_fork()
        if timeout != 0 and self._is_here():
            raise RuntimeError("a command cannot be waited for from its on_output")
        with self._lock:
            if self._ended:
                return True
            fd = int(_abi.lib.guest_process_fd(self._handle))
            self._waiting += 1
        try:
            return _readable(fd, timeout)
        finally:
            with self._lock:
                self._waiting -= 1
                self._free()

    def _outcome(self) -> CompletedProcess:
        """What became of the command, which has ended; or the exception that it ended with."""
        self._collect()
        if self._error:
            raise self._error
        assert self.result
        return self.result

    def _collect(self) -> None:
        with self._lock:
            if not self._ended:
                try:
                    wait = functools.partial(_abi.lib.guest_wait, self._handle, 0)
                    self.result = self._command.outcome(wait)
                except BaseException as exception:
                    self._error = exception
                    self.result = getattr(exception, "result", None)
                if self.result:
                    self.returncode = self.result.returncode
                self._ended = True
            self._free()

    def _end(self) -> None:
        """End the command, and leave its outcome to whoever waits for that."""
        self.cancel()
        self._ends(None)

    def _drop(self) -> None:
        """End the command; nobody asks for its outcome."""
        self._end()
        self._collect()

    def _free(self) -> None:
        if self._ended and not self._waiting:
            _running.pop(id(self), None)
            handle, self._handle = self._handle, ctypes.c_void_p()
            _abi.lib.guest_process_free(handle)

    def _is_here(self) -> bool:
        """Whether this thread is in the command's on_output."""
        return self._command.thread == threading.get_ident()

    def _is_forked(self) -> bool:
        """Whether this is a copy in a forked child, where the lock may be held by nobody."""
        return self._guest._forked()

    def _check_fork(self) -> None:
        if self._is_forked() and not self._ended:
            error = new_error()
            _abi.lib.guest_kill(self._handle, 0, error)  # -ECHILD
            raise error_from(error)

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc_value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        if exc_type is None:
            self.wait()
        else:
            self._drop()

    def __del__(self) -> None:
        if not self._handle:
            return
        if self._is_forked():
            _abi.lib.guest_process_free(self._handle)
            return
        ended = self._ended
        if self._is_here():  # where it would wait for itself
            threading.Thread(target=self._drop).start()
        else:
            self._drop()
        if not ended:
            warnings.warn(f"{self!r} was not waited for", ResourceWarning, source=self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: returncode: {self.returncode} args: {self.args!r}>"


def _readable(fd: int, timeout: Optional[float]) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        left = _POLL_MAX if end is None else min(_POLL_MAX, max(0, end - time.monotonic()))
        if poll.poll(left * 1000):
            return True
        if end is not None and time.monotonic() >= end:
            return False


def run(guest: Guest, handle: Optional[ctypes.c_void_p], command: Command) -> CompletedProcess:
    """Run a command, and signal handlers meanwhile. What they raise ends it."""
    if command.on_output:
        return _run_with_output(guest, handle, command, command.on_output)
    with Process(guest, handle, command) as process:
        process.wait()
    return process._outcome()


def _run_with_output(
    guest: Guest, handle: Optional[ctypes.c_void_p], command: Command, on_output: OnOutput
) -> CompletedProcess:
    """The same with output handed over to this thread.

    If guest_run() called on_output here, what a signal handler raises at the very begin of that
    would be lost.
    """
    pieces: queue.SimpleQueue[Optional[Tuple[str, bytes]]] = queue.SimpleQueue()
    room = threading.Semaphore(_PIECES_MAX)
    over = threading.Event()

    def hand_over(stream: str, data: bytes) -> None:
        if not over.is_set():
            room.acquire()
            pieces.put((stream, data))

    def watch() -> None:
        process._ends(None)
        pieces.put(None)

    command.on_output = hand_over
    process = Process(guest, handle, command)
    watcher = threading.Thread(target=watch)
    try:
        with process:
            watcher.start()
            try:
                for piece in iter(pieces.get, None):
                    room.release()
                    on_output(*piece)
            finally:
                over.set()
                room.release()
    finally:
        if watcher.ident is not None:
            watcher.join()
    return process._outcome()


_running: Dict[int, weakref.ReferenceType[Process]] = {}


def running(guest: Optional[Guest] = None) -> List[Process]:
    """The commands under way, of one guest or of all."""
    processes = [reference() for reference in list(_running.values())]
    return [each for each in processes if each and guest in (None, each._guest)]


@atexit.register
def _drop_all() -> None:
    """Later there is no interpreter to call on_output in."""
    for process in running():
        if not process._is_forked():
            process._drop()

# SPDX-License-Identifier: MIT
"""Guests."""

from __future__ import annotations

import ctypes
import os
import threading
import warnings
from types import TracebackType
from typing import Any, Iterable, List, Mapping, Optional, Tuple, Type, Union

from . import _abi
from ._command import DEFAULT_OUTPUT_LIMIT, Args, Command, File, OnOutput, argv, bytes_of
from ._config import Mount, config_from
from ._errors import GuestError, TimeoutExpired, error_from, failure, new_error
from ._result import Cause, CompletedProcess, result_from
from ._text import Codec, Text


class Guest:
    """A guest: a throw-away Debian userland that runs commands.

    All arguments are optional and given by name:

    rootfs: a directory or a tar archive, as a path or an open fd; None stands for the embedded one.
    hostname: at most 64 characters; "guest" if not given.
    network: False or "none" for a network of its own that has nothing but loopback; True or "host"
        for the host's, its loopback and abstract sockets included.
    mounts: of Mount, or of tuples (source, target) or (source, target, options).
    capabilities: what commands may do inside their own user namespace, as text for
        cap_from_text(3).
    uid, gid: whom commands run as, inside.
    writable_bytes, writable_inodes: how much the guest may write, and how many files it may create.
    memory_bytes, pids_max, cpu_quota: limits for the guest; cpu_quota in thousandths of a CPU.
    rootfs_bytes, rootfs_inodes: how large an unpacked rootfs archive may be.
    best_effort: drop a limit that nothing here can enforce, rather than fail.
    seccomp: filter system calls.

    A number that is None stands for the library's default. GuestError is raised if the guest cannot
    be made; libguest.doctor() tells why.

    A guest is a context manager, and is closed at the end of the with block. It can be used by any
    number of threads at once, whose commands run in parallel. It belongs to the process that made
    it: in a forked child run() raises ChildProcessError, and closing it there leaves it alone.
    """

    _handle: Optional[ctypes.c_void_p] = None

    def __init__(
        self,
        *,
        rootfs: Union[Text, int, None] = None,
        hostname: Optional[str] = None,
        network: Union[bool, str] = False,
        mounts: Iterable[Union[Mount, Tuple[Any, ...]]] = (),
        capabilities: Optional[str] = None,
        uid: int = 0,
        gid: int = 0,
        writable_bytes: Optional[int] = None,
        writable_inodes: Optional[int] = None,
        memory_bytes: Optional[int] = None,
        pids_max: Optional[int] = None,
        cpu_quota: Optional[int] = None,
        rootfs_bytes: Optional[int] = None,
        rootfs_inodes: Optional[int] = None,
        best_effort: bool = False,
        seccomp: bool = True,
    ) -> None:
        flags = _abi.GUEST_BEST_EFFORT if best_effort else 0
        flags |= 0 if seccomp else _abi.GUEST_NO_SECCOMP
        config = config_from(
            rootfs,
            hostname=hostname,
            capabilities=capabilities,
            network=network,
            mounts=mounts,
            flags=flags,
            uid=uid,
            gid=gid,
            writable_bytes=writable_bytes,
            writable_inodes=writable_inodes,
            memory_bytes=memory_bytes,
            pids_max=pids_max,
            cpu_quota=cpu_quota,
            rootfs_bytes=rootfs_bytes,
            rootfs_inodes=rootfs_inodes,
        )
        self._pid = os.getpid()
        self._changed = threading.Condition(threading.Lock())
        self._runs: List[int] = []  # the threads of the commands under way
        self._closing = False
        self._handle = ctypes.c_void_p()
        error = new_error()
        if _abi.lib.guest_init(self._handle, config, error) < 0:
            self._handle = None
            raise error_from(error)

    def run(
        self,
        args: Args,
        *,
        input: Union[str, bytes, bytearray, memoryview, None] = None,
        stdin: File = None,
        stdout: File = None,
        stderr: File = None,
        capture_output: bool = True,
        shell: bool = False,
        cwd: Optional[Text] = None,
        timeout: Optional[float] = None,
        check: bool = False,
        encoding: Optional[str] = None,
        errors: Optional[str] = None,
        text: Optional[bool] = None,
        env: Optional[Mapping[Any, Any]] = None,
        output_limit: Optional[int] = DEFAULT_OUTPUT_LIMIT,
        truncate_output: bool = False,
        on_output: Optional[OnOutput] = None,
    ) -> CompletedProcess:
        """Run a command with arguments, wait for its end and return a CompletedProcess.

        When it returns, nothing that the command had started is alive. Arguments, result and
        exceptions are those of subprocess.run(), with these differences:

        Output is captured unless stdout or stderr says otherwise: they take PIPE, DEVNULL, a file
        or an fd, and stderr takes STDOUT. stdin takes DEVNULL, a file or an fd; if it is not given,
        the command reads input, or nothing. With capture_output=False nothing is stored: output is
        handed to on_output, or if there is none goes where the caller's own goes.

        The environment is env, or a minimal one; the caller's is never passed on. cwd is a
        directory of the guest, "/" by default. A command without a slash is looked up in the guest.

        Text is UTF-8 unless encoding is given, whatever the locale.

        A command that writes more than output_limit bytes to stdout, or to stderr, is killed; None
        stands for no limit. With truncate_output=True it goes on, and what is too much is dropped.
        The result's truncated names the streams concerned.

        on_output(stream, data) is called in this thread with each piece of captured output, as
        bytes, as it arrives; stream is "stdout" or "stderr". An exception that it raises kills the
        command and comes out of run().

        With check=True, CalledProcessError is raised as well for a command that was killed at its
        limit and exited with 0 nevertheless.

        Python's own signal handlers, that of Ctrl-C among them, run when the command has ended or
        while on_output is called: a command that may hang should have a timeout.
        """
        if not capture_output and not on_output:
            stdout = 1 if stdout is None else stdout
            stderr = 2 if stderr is None else stderr
        codec = Codec(encoding, errors) if encoding or errors or text else None
        raised: List[BaseException] = []
        words = argv(args, shell)
        with Command(words, env, cwd) as command:
            command.limit(timeout, output_limit, truncate_output)
            command.read_from(stdin, bytes_of(input, codec))
            command.write_to(stdout, stderr)
            if on_output:
                command.hand_to(on_output, raised, capture_output)
            result = _abi.guest_result(size=ctypes.sizeof(_abi.guest_result))
            error = new_error()
            try:
                r = self._run(command.struct, result, error)
                if raised:
                    raise raised.pop()
                if r < 0:
                    raise failure(error, words[0], cwd)
                completed = result_from(result, args, command.stored, codec)
            finally:
                _abi.lib.guest_result_clear(result)
        if completed.cause == Cause.TIMED_OUT:
            assert timeout is not None
            expired = TimeoutExpired(args, timeout, completed.stdout, completed.stderr)
            expired.result = completed
            raise expired
        if check:
            completed.check_returncode()
        return completed

    def _run(
        self, command: _abi.guest_command, result: _abi.guest_result, error: _abi.guest_error
    ) -> int:
        """guest_run(), with this thread among the runs, so that close() waits for it."""
        if self._forked():  # the lock may be held by a thread that is not here; this is -ECHILD
            self._check_open()
            return int(_abi.lib.guest_run(self._handle, command, result, error))
        thread = threading.get_ident()
        with self._changed:
            self._check_open()
            self._runs.append(thread)
        try:
            return int(_abi.lib.guest_run(self._handle, command, result, error))
        finally:
            with self._changed:
                self._runs.remove(thread)
                self._changed.notify_all()

    def _forked(self) -> bool:
        return os.getpid() != self._pid

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("operation on closed guest")

    @property
    def closed(self) -> bool:
        """Whether the guest has been closed, or is being closed."""
        return self._handle is None or self._closing

    def close(self) -> None:
        """End the guest: every process of it is dead when this returns, and what it wrote is gone.

        It waits for commands that other threads run; new ones raise ValueError from now on. Closing
        a guest again does nothing.
        """
        if self._handle is None:
            return
        if self._forked():
            self._shutdown()
            return
        with self._changed:
            if threading.get_ident() in self._runs:
                raise RuntimeError("a guest cannot be closed from on_output")
            self._closing = True
            while self._runs:
                self._changed.wait()
            if self._handle is None:
                return
            error = self._shutdown()
        if error:
            raise error

    shutdown = close

    def _shutdown(self) -> Optional[GuestError]:
        handle, self._handle = self._handle, None
        error = new_error()
        return error_from(error) if _abi.lib.guest_shutdown(handle, error) < 0 else None

    def __enter__(self) -> Guest:
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
            warnings.warn(f"unclosed guest {self!r}", ResourceWarning, source=self)
        self._shutdown()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'closed' if self.closed else 'open'} at {id(self):#x}>"

# SPDX-License-Identifier: MIT
"""From the arguments of Guest.run() to a struct guest_command, and from its result to them."""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from contextlib import ExitStack
from subprocess import DEVNULL, PIPE, STDOUT
from typing import IO, Any, Callable, List, Mapping, Optional, Sequence, TypedDict, Union

from . import _abi
from ._errors import failure, new_error
from ._result import Cause, CompletedProcess, result_from
from ._text import Codec, Text, check_names, encode, nanoseconds, string_array, unsigned

Args = Union[Text, Sequence[Text]]
File = Union[None, int, IO[Any]]
OnOutput = Callable[[str, bytes], Any]

_LIMITS = (
    "memory_bytes",
    "pids_max",
    "cpu_quota",
    "address_space_bytes",
    "data_bytes",
    "file_size_bytes",
    "open_files",
    "memory_high_bytes",
    "cpu_weight",
)
_STREAMS = {_abi.GUEST_STDOUT: "stdout", _abi.GUEST_STDERR: "stderr"}


class Options(TypedDict, total=False):
    """What run(), popen() and run_async() take by name."""

    input: Union[str, bytes, bytearray, memoryview, None]
    stdin: File
    stdout: File
    stderr: File
    capture_output: bool
    shell: bool
    cwd: Optional[Text]
    timeout: Optional[float]
    encoding: Optional[str]
    errors: Optional[str]
    text: Optional[bool]
    env: Optional[Mapping[Any, Any]]
    output_limit: Optional[int]
    truncate_output: bool
    on_output: Optional[OnOutput]
    memory_bytes: Optional[int]
    pids_max: Optional[int]
    cpu_quota: Optional[int]
    cpu_time: Optional[float]
    address_space_bytes: Optional[int]
    data_bytes: Optional[int]
    file_size_bytes: Optional[int]
    open_files: Optional[int]
    memory_high_bytes: Optional[int]
    cpu_weight: Optional[int]
    io_max: Optional[str]
    keep_background: bool


def argv(args: Args, shell: bool) -> List[bytes]:
    words = [args] if isinstance(args, (str, bytes, os.PathLike)) else list(args)
    if shell:
        words = ["/bin/sh", "-c", *words]
    if not words:
        raise ValueError("args is empty")
    return [encode(word) for word in words]


def bytes_of(data: Any, codec: Optional[Codec]) -> Optional[bytes]:
    """What a command reads, from the input argument."""
    if data is None:
        return None
    if codec:
        return codec.encode(data)
    return data if isinstance(data, bytes) else memoryview(data).tobytes()


class Command(ExitStack):
    """A guest_command, as .struct. What it points to and its fds last as long as this does."""

    def __init__(self, args: Args, options: Options) -> None:
        super().__init__()
        check_names(options, Options)
        self.args = args
        self.words = argv(args, options.get("shell", False))
        self.cwd = options.get("cwd")
        self.timeout = options.get("timeout")
        self.on_output = options.get("on_output")
        self.thread: Optional[int] = None  # which on_output is called from
        encoding, errors = options.get("encoding"), options.get("errors")
        self._codec = (
            Codec(encoding, errors) if encoding or errors or options.get("text") else None
        )
        self._stored = [True, True]  # stdout, stderr: whether the result has them
        self._raised: List[BaseException] = []  # by on_output
        self.struct = _abi.guest_command()
        _abi.lib.guest_command_init(self.struct, ctypes.sizeof(self.struct))
        self.struct.argv = string_array(self.words)
        env = options.get("env")
        if env is not None:
            self.struct.envp = string_array(_environment(env))
        if self.cwd is not None:
            self.struct.cwd = encode(self.cwd)
        self._limit(options)
        self._read_from(options.get("stdin"), bytes_of(options.get("input"), self._codec))
        self._write_to(options)

    def outcome(
        self, call: Callable[[_abi.guest_result, _abi.guest_error], int]
    ) -> CompletedProcess:
        """What became of it, as a call tells that fills in a guest_result."""
        result = _abi.guest_result(size=ctypes.sizeof(_abi.guest_result))
        error = new_error()
        try:
            r = call(result, error)
            if self._raised:
                raise self._raised.pop()
            if r == 0:
                return result_from(result, self.args, self._stored, self._codec)
            exception = failure(error, self.words[0], self.cwd)
            if r == -errno.EPIPE and result.cause == Cause.LOST:
                exception.result = result_from(result, self.args, self._stored, self._codec)
            raise exception
        finally:
            _abi.lib.guest_result_clear(result)

    def _limit(self, options: Options) -> None:
        self.struct.timeout_ns = nanoseconds(self.timeout)
        self.struct.cpu_time_ns = nanoseconds(options.get("cpu_time"))
        if "output_limit" in options:
            output_limit = options["output_limit"]
            if output_limit == 0:
                raise ValueError("output_limit must be positive, or None for no limit")
            self.struct.output_limit_bytes = unsigned("output_limit", output_limit or 0)
        numbers: Mapping[str, Any] = dict(options)
        for name in _LIMITS:
            number = numbers.get(name)
            if number is not None:
                setattr(self.struct, name, unsigned(name, number))
        io_max = options.get("io_max")
        if io_max is not None:
            self.struct.io_max = encode(io_max)
        if options.get("truncate_output"):
            self.struct.flags |= _abi.GUEST_TRUNCATE_OUTPUT
        if options.get("keep_background"):
            self.struct.flags |= _abi.GUEST_KEEP_BACKGROUND

    def _read_from(self, stdin: File, data: Optional[bytes]) -> None:
        if data is not None:
            if stdin is not None:
                raise ValueError("stdin and input arguments may not both be used.")
            self.struct.stdin_data = data
            self.struct.stdin_size = len(data)
        elif stdin == PIPE:
            raise ValueError("a command's stdin cannot be PIPE; use input")
        elif stdin is not None and stdin != DEVNULL:
            self.struct.stdin_fd = self._fileno(stdin)

    def _write_to(self, options: Options) -> None:
        stdout, stderr = options.get("stdout"), options.get("stderr")
        if self.on_output:
            self.struct.on_output = self._callback()
        if not options.get("capture_output", True):
            if self.on_output:
                self.struct.flags |= _abi.GUEST_NO_CAPTURE
                self._stored = [False, False]
            else:
                stdout = 1 if stdout is None else stdout
                stderr = 2 if stderr is None else stderr
        if stdout is not None and stdout != PIPE:
            self.struct.stdout_fd = self._fileno(stdout)
            self._stored[0] = False
        if stderr == STDOUT:
            self.struct.flags |= _abi.GUEST_MERGE_STDERR
            self._stored[1] = False
        elif stderr is not None and stderr != PIPE:
            self.struct.stderr_fd = self._fileno(stderr)
            self._stored[1] = False

    def _callback(self) -> Any:
        """What calls on_output as output arrives. An exception ends the command."""

        @_abi.on_output_function
        def call(user_data: Any, stream: int, data: int, size: int) -> int:
            try:
                self.thread = threading.get_ident()
                assert self.on_output
                self.on_output(_STREAMS[stream], ctypes.string_at(data, size))
            except BaseException as exception:
                self._raised.append(exception)
            finally:
                self.thread = None
            return len(self._raised)

        return call

    def _fileno(self, file: Union[int, IO[Any]]) -> int:
        if file == DEVNULL:
            fd = os.open(os.devnull, os.O_WRONLY)
            self.callback(os.close, fd)
            return fd
        fd = file if isinstance(file, int) else file.fileno()
        return unsigned("file descriptor", fd, 2**31 - 1)


def _environment(env: Mapping[Any, Any]) -> List[bytes]:
    entries = []
    for key, value in env.items():
        name = encode(key)
        if not name or b"=" in name:
            raise ValueError("illegal environment variable name")
        entries.append(name + b"=" + encode(value))
    return entries

# SPDX-License-Identifier: MIT
"""From the arguments of Guest.run() to a struct guest_command."""

from __future__ import annotations

import ctypes
import os
from contextlib import ExitStack
from subprocess import DEVNULL, PIPE, STDOUT
from typing import IO, Any, Callable, List, Mapping, Optional, Sequence, Union

from . import _abi
from ._text import Codec, Text, encode, string_array, unsigned

Args = Union[Text, Sequence[Text]]
File = Union[None, int, IO[Any]]
OnOutput = Callable[[str, bytes], Any]

DEFAULT_OUTPUT_LIMIT = 256 << 20
_TIMEOUT_MAX = 2**63 / 1e9
_STREAMS = {_abi.GUEST_STDOUT: "stdout", _abi.GUEST_STDERR: "stderr"}


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

    def __init__(
        self, words: List[bytes], env: Optional[Mapping[Any, Any]], cwd: Optional[Text]
    ) -> None:
        super().__init__()
        self.struct = _abi.guest_command()
        self.stored = [True, True]  # stdout, stderr: whether the result has them
        _abi.lib.guest_command_init(self.struct, ctypes.sizeof(self.struct))
        self.struct.argv = string_array(words)
        if env is not None:
            self.struct.envp = string_array(_environment(env))
        if cwd is not None:
            self.struct.cwd = encode(cwd)

    def limit(self, timeout: Optional[float], output_limit: Optional[int], truncate: bool) -> None:
        if timeout is not None and timeout < _TIMEOUT_MAX:
            self.struct.timeout_ns = max(1, int(timeout * 1e9))  # 0 would be none
        if output_limit is None:
            self.struct.output_limit_bytes = 0
        else:
            self.struct.output_limit_bytes = unsigned("output_limit", output_limit)
            if output_limit == 0:
                raise ValueError("output_limit must be positive, or None for no limit")
        if truncate:
            self.struct.flags |= _abi.GUEST_TRUNCATE_OUTPUT

    def read_from(self, stdin: File, data: Optional[bytes]) -> None:
        if data is not None:
            if stdin is not None:
                raise ValueError("stdin and input arguments may not both be used.")
            self.struct.stdin_data = data
            self.struct.stdin_size = len(data)
        elif stdin == PIPE:
            raise ValueError("a command's stdin cannot be PIPE; use input")
        elif stdin is not None and stdin != DEVNULL:
            self.struct.stdin_fd = self._fileno(stdin)

    def write_to(self, stdout: File, stderr: File) -> None:
        if stdout is not None and stdout != PIPE:
            self.struct.stdout_fd = self._fileno(stdout)
            self.stored[0] = False
        if stderr == STDOUT:
            self.struct.flags |= _abi.GUEST_MERGE_STDERR
            self.stored[1] = False
        elif stderr is not None and stderr != PIPE:
            self.struct.stderr_fd = self._fileno(stderr)
            self.stored[1] = False

    def hand_to(self, on_output: OnOutput, raised: List[BaseException], store: bool) -> None:
        """Call on_output as output arrives. What it raises goes to `raised`, and ends it."""

        @_abi.on_output_function
        def call(user_data: Any, stream: int, data: int, size: int) -> int:
            try:
                on_output(_STREAMS[stream], ctypes.string_at(data, size))
            except BaseException as exception:
                raised.append(exception)
            return len(raised)

        self.struct.on_output = call
        if not store:
            self.struct.flags |= _abi.GUEST_NO_CAPTURE
            self.stored = [False, False]

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

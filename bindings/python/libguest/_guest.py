# SPDX-License-Identifier: MIT
"""Guests."""

from __future__ import annotations

import ctypes
import functools
import signal
import threading
from typing import TYPE_CHECKING, Optional

from . import _abi, _process
from ._command import Args, Command, Options
from ._config import Settings, config_from
from ._handle import Handle
from ._info import Info, info_from, limits_from
from ._process import Process, running
from ._result import CompletedProcess

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Guest(Handle):
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
    memory_high_bytes, cpu_weight, io_max: more limits for the guest, which take cgroup v2, as its
        memory.high, cpu.weight and io.max: a line "/dev/sda rbps=1048576 wiops=100", or several.
    cgroup_parent: a directory of cgroup v2, without processes, in which groups for guests are made;
        if not given, one is looked for.
    cgroup: make a group even where no limit asks for one, and let nothing less do for the limits.
    move_host: this process may be moved into a leaf of its own delegated group, where groups for
        guests cannot be made otherwise.
    budget_commands, budget_cpu, budget_wall, budget_output_bytes, budget_written_bytes: budgets for
        the guest's life: commands that may be started, seconds of CPU time, seconds since it was
        made, bytes of captured output, and bytes written by write(2) to whatever it be.
    cache_dir: the absolute path of a directory that keeps the rootfs unpacked on disk, for this
        user's later processes; "" for $XDG_CACHE_HOME/libguest or ~/.cache/libguest; None for none.
        info() tells whether it was found there, and why not.
    best_effort: drop a limit that nothing here can enforce, rather than fail.
    seccomp: filter system calls.

    A number that is None stands for the library's default. GuestError is raised if the guest cannot
    be made; libguest.doctor() tells why. The guest's info() tells what enforces which limit.

    When a budget is spent, commands that run are ended, which their results tell by Seen.BUDGET,
    and those to be started raise BudgetExceeded.

    A guest is a context manager, and is closed at the end of the with block. It can be used by any
    number of threads at once, whose commands run in parallel. It belongs to the process that made
    it: in a forked child run() raises ChildProcessError, and closing it there leaves it alone.
    """

    _kind = "guest"
    _shut = _abi.lib.guest_shutdown

    def __init__(self, **settings: Unpack[Settings]) -> None:
        self._open(_abi.lib.guest_init, config_from(settings))

    def run(
        self, args: Args, *, check: bool = False, **options: Unpack[Options]
    ) -> CompletedProcess:
        """Run a command with arguments, wait for its end and return a CompletedProcess.

        When it returns, nothing that the command had started is alive. Arguments, result and
        exceptions are those of subprocess.run(): input, stdin, stdout, stderr, capture_output,
        shell, cwd, timeout, check, encoding, errors, text and env, with these differences, and what
        is named below besides:

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

        memory_bytes, pids_max and cpu_time (in seconds), and with cgroup v2 cpu_quota (in
        thousandths of a CPU), memory_high_bytes, cpu_weight and io_max, limit the command together
        with all that it starts, within the guest's own limits; address_space_bytes, data_bytes,
        file_size_bytes and open_files limit each of its processes, as setrlimit(2) does. A command
        that exceeds one is no exception: the cause in the result tells.

        With keep_background=True, what the command leaves running goes on until the guest's end;
        if the command is killed, so is that.

        With check=True, CalledProcessError is raised as well for a command that met a limit and
        exited with 0 nevertheless.

        In the main thread, signal handlers of Python run meanwhile, and an exception of theirs,
        such as KeyboardInterrupt, ends the command.
        """
        with Command(args, options) as command, self._in_use() as handle:
            if _signals_are_handled():
                completed = _process.run(self, handle, command)
            else:
                run = functools.partial(_abi.lib.guest_run, handle, command.struct)
                completed = command.outcome(run)
        return completed._check(command.timeout, check)

    def popen(self, args: Args, **options: Unpack[Options]) -> Process:
        """Start a command, and return a Process as soon as it has been executed.

        Arguments and exceptions are those of run(), with these differences:

        After timeout seconds the command is killed, as in run(), but its Process raises no
        exception for that: the cause in its result tells.

        on_output is called from a thread of the command's own.

        Close a guest, and its commands are ended as Process.cancel() does.
        """
        with Command(args, options) as command, self._in_use() as handle:
            process = Process(self, handle, command)
        return process

    async def run_async(
        self, args: Args, *, check: bool = False, **options: Unpack[Options]
    ) -> CompletedProcess:
        """Run a command without blocking the event loop that waits for its end.

        Arguments, result and exceptions are those of run(). on_output is called in the event loop,
        and what has not been taken yet by a slow one is stored.

        If the task is cancelled, the command is ended with all that it had started, and that is
        waited for.
        """
        from . import _async  # asyncio takes longer to import than all the rest

        return await _async.run(self, args, check, options)

    def set_limits(
        self,
        *,
        memory_bytes: Optional[int] = None,
        memory_high_bytes: Optional[int] = None,
        pids_max: Optional[int] = None,
        cpu_quota: Optional[int] = None,
        cpu_weight: Optional[int] = None,
        io_max: Optional[str] = None,
    ) -> None:
        """Change limits of the guest while it runs. None leaves a limit as it is, 0 lifts it.

        A line of io_max changes what it names; the word max lifts that: "/dev/sda wbps=max".

        Where the guest has a group, they hold at once, for all commands, and memory_bytes below
        what is in use kills. A guest without one that is given its first limit gets one for the
        commands that are started from then on. A limit that nothing here can enforce is a
        GuestError, unless the guest was made with best_effort=True.
        """
        numbers = {
            "memory_bytes": memory_bytes,
            "memory_high_bytes": memory_high_bytes,
            "pids_max": pids_max,
            "cpu_quota": cpu_quota,
            "cpu_weight": cpu_weight,
        }
        self._call(_abi.lib.guest_set_limits, limits_from(io_max, numbers))

    def info(self) -> Info:
        """Tell what the guest uses, and what its limits are."""
        info = _abi.guest_info(size=ctypes.sizeof(_abi.guest_info))
        with self._in_use():
            self._call(_abi.lib.guest_info, info)
            return info_from(info)  # the name of its group is there until guest_shutdown()

    def pause(self) -> None:
        """Stop all commands of the guest where they are, until resume(). Timeouts go on running.

        A command that is started meanwhile waits, and so do run() and popen(): the thread, or the
        event loop, that is to call resume() must not be theirs.
        """
        self._call(_abi.lib.guest_pause)

    def resume(self) -> None:
        """Let the commands of a paused guest go on."""
        self._call(_abi.lib.guest_resume)

    def close(self) -> None:
        """End the guest: every process of it is dead when this returns, and what it wrote is gone.

        It waits for commands that other threads run, and ends those that were started by popen();
        new ones raise ValueError from now on. Closing a guest again does nothing.
        """
        super().close()

    shutdown = close

    def _is_used_here(self) -> bool:
        return super()._is_used_here() or any(p._is_here() for p in running(self))

    def _before_shutdown(self) -> None:
        for process in running(self):
            process._end()


def _signals_are_handled() -> bool:
    """Whether a wait of this thread may be interrupted, by Ctrl-C above all."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    return in_main_thread and callable(signal.getsignal(signal.SIGINT))

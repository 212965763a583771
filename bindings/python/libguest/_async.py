# SPDX-License-Identifier: MIT
"""Commands in an event loop."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any, List, Optional

from ._command import Args, Options
from ._process import Process
from ._result import CompletedProcess

if TYPE_CHECKING:
    from ._guest import Guest


async def run(guest: Guest, args: Args, check: bool, options: Options) -> CompletedProcess:
    """Guest.run_async()."""
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    on_output = options.get("on_output")
    raised: List[BaseException] = []

    def deliver(stream: str, data: bytes) -> None:
        if raised or not on_output:
            return
        try:
            on_output(stream, data)
        except BaseException as exception:
            raised.append(exception)
            process.cancel()

    def hand_over(stream: str, data: bytes) -> None:  # in the command's own thread
        loop.call_soon_threadsafe(context.run, deliver, stream, data)

    if on_output:
        options["on_output"] = hand_over
    process = guest.popen(args, **options)
    with process:
        await _end_of(process, loop)
    if raised:
        raise raised.pop()
    assert process.result
    return process.result._check(options.get("timeout"), check)


async def _end_of(process: Process, loop: asyncio.AbstractEventLoop) -> None:
    """Wait for the end of a command. Being cancelled ends it, but does not keep from waiting."""
    fd = process.fileno()
    ended: asyncio.Future[Any] = loop.create_future()
    cancelled: Optional[asyncio.CancelledError] = None

    def on_end() -> None:
        if not ended.done():
            ended.set_result(None)

    try:
        loop.add_reader(fd, on_end)
    except NotImplementedError:
        await loop.run_in_executor(None, process.wait)
        return
    try:
        while not ended.done():
            try:
                await asyncio.shield(ended)
            except asyncio.CancelledError as exception:
                cancelled = exception
                process.cancel()
    finally:
        loop.remove_reader(fd)
    if cancelled:
        raise cancelled

# SPDX-License-Identifier: MIT
"""What a guest tells of itself, and limits that change while it runs."""

from __future__ import annotations

import ctypes
import os
from typing import Any, Dict, NamedTuple, Optional

from . import _abi
from ._result import enforcer
from ._text import encode, unsigned

_TEMPLATE_SOURCES = {
    _abi.GUEST_TEMPLATE_UNPACKED: "unpacked",
    _abi.GUEST_TEMPLATE_DIRECTORY: "directory",
    _abi.GUEST_TEMPLATE_CACHED: "cached",
    _abi.GUEST_TEMPLATE_FILLED: "filled",
    _abi.GUEST_TEMPLATE_NO_CACHE: "no cache",
}

_NONE_IF_0 = {
    "memory_bytes",
    "memory_high_bytes",
    "pids_max",
    "cpu_quota",
    "cpu_weight",
    "memory_now_bytes",
    "memory_peak_bytes",
    "processes_now",
}


class Info(NamedTuple):
    """What Guest.info() tells.

    Attributes:
      running  commands that run now
      cgroup   the directory of the guest's cgroup v2 group; None if it has none
      memory_enforced, memory_high_enforced, pids_enforced, cpu_enforced, cpu_weight_enforced,
      io_enforced
               what enforces the limits on the guest: "cgroup2", "cgroup2:systemd", "rlimit" or
               "sampled", or "none" where there is no limit
      memory_bytes, memory_high_bytes, pids_max, cpu_quota, cpu_weight
               the limits in force; None for those that are not
      writable_bytes, writable_inodes
               how much the guest may write, and how many files it may create
      commands, cpu_time, wall_time, output_bytes, written_bytes
               used so far, times in seconds, by all commands that have ended (and by those that run
               where a group tells)
      memory_now_bytes, memory_peak_bytes, processes_now
               in use now, and at most; None if not known (it takes cgroup v2)
      writable_used_bytes, writable_used_inodes
               in use now
      template_source
               where the read-only files below what the guest writes come from: "unpacked" into
               memory, a "directory", "cached" (found in cache_dir), "filled" (unpacked there), or
               "no cache" (unpacked into memory, though there is a cache_dir)
      cache_error
               with "no cache", why; else None
    """

    running: int
    memory_enforced: str
    memory_high_enforced: str
    pids_enforced: str
    cpu_enforced: str
    cpu_weight_enforced: str
    io_enforced: str
    cgroup: Optional[str]
    memory_bytes: Optional[int]
    memory_high_bytes: Optional[int]
    pids_max: Optional[int]
    cpu_quota: Optional[int]
    cpu_weight: Optional[int]
    writable_bytes: int
    writable_inodes: int
    commands: int
    cpu_time: float
    wall_time: float
    output_bytes: int
    written_bytes: int
    memory_now_bytes: Optional[int]
    memory_peak_bytes: Optional[int]
    processes_now: Optional[int]
    writable_used_bytes: int
    writable_used_inodes: int
    template_source: str
    cache_error: Optional[str]


def info_from(info: _abi.guest_info) -> Info:
    values: Dict[str, Any] = {}
    for field in _abi.guest_info._fields_[1:]:
        name, value = field[0], getattr(info, field[0])
        if name.endswith("_enforced"):
            value = enforcer(value)
        elif name.endswith("_ns"):
            name, value = name[:-3] + "_time", value / 1e9
        elif name in _NONE_IF_0:
            value = value or None
        values[name] = value
    if info.cgroup is not None:
        values["cgroup"] = os.fsdecode(info.cgroup)
    values["template_source"] = _TEMPLATE_SOURCES[info.template_source]
    if info.cache_error is not None:
        values["cache_error"] = info.cache_error.decode(errors="replace")
    del values["reserved"]
    return Info(**values)


def limits_from(io_max: Optional[str], numbers: Dict[str, Optional[int]]) -> _abi.guest_limits:
    limits = _abi.guest_limits()
    _abi.lib.guest_limits_init(limits, ctypes.sizeof(limits))
    for name, number in numbers.items():
        if number is not None:
            setattr(limits, name, unsigned(name, number))
    if io_max is not None:
        limits.io_max = encode(io_max)
    return limits

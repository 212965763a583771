# SPDX-License-Identifier: MIT
"""From the arguments of Guest() and Pool() to a struct guest_config."""

from __future__ import annotations

import ctypes
from typing import Any, Iterable, Mapping, NamedTuple, Optional, Tuple, TypedDict, Union

from . import _abi
from ._text import Text, check_names, encode, nanoseconds, unsigned

_INT32_MAX = 2**31 - 1
_UINT32_MAX = 2**32 - 1
_NETWORKS = {
    False: _abi.GUEST_NETWORK_NONE,
    "none": _abi.GUEST_NETWORK_NONE,
    True: _abi.GUEST_NETWORK_HOST,
    "host": _abi.GUEST_NETWORK_HOST,
}


class Mount(NamedTuple):
    """Something mounted into a guest.

    Attributes:
      source   a path on the host: a directory, file or socket. None: a tmpfs
      target   an absolute path in the guest; what is missing of it is made
      options  text as for mount(8): ro, rw, noexec, noatime; for a bind norecurse, noidmap; for a
               tmpfs size=, nr_inodes=, mode=. nosuid and nodev are always on
    """

    source: Optional[Text]
    target: Text
    options: str = ""

    def _fill(self, mount: _abi.guest_mount) -> None:
        mount.size = ctypes.sizeof(mount)
        mount.type = _abi.GUEST_MOUNT_TMPFS if self.source is None else _abi.GUEST_MOUNT_BIND
        mount.source = None if self.source is None else encode(self.source)
        mount.target = encode(self.target)
        mount.options = encode(self.options) if self.options else None


class Settings(TypedDict, total=False):
    """What Guest() and Pool() take by name."""

    rootfs: Union[Text, int, None]
    hostname: Optional[str]
    network: Union[bool, str]
    mounts: Iterable[Union[Mount, Tuple[Any, ...]]]
    capabilities: Optional[str]
    uid: int
    gid: int
    writable_bytes: Optional[int]
    writable_inodes: Optional[int]
    memory_bytes: Optional[int]
    pids_max: Optional[int]
    cpu_quota: Optional[int]
    rootfs_bytes: Optional[int]
    rootfs_inodes: Optional[int]
    memory_high_bytes: Optional[int]
    cpu_weight: Optional[int]
    io_max: Optional[str]
    cgroup_parent: Optional[Text]
    cgroup: bool
    move_host: bool
    budget_commands: Optional[int]
    budget_cpu: Optional[float]
    budget_wall: Optional[float]
    budget_output_bytes: Optional[int]
    budget_written_bytes: Optional[int]
    cache_dir: Optional[Text]
    best_effort: bool
    seccomp: bool


_NUMBERS = (
    "writable_bytes",
    "writable_inodes",
    "memory_bytes",
    "pids_max",
    "cpu_quota",
    "rootfs_bytes",
    "rootfs_inodes",
    "memory_high_bytes",
    "cpu_weight",
    "budget_commands",
    "budget_output_bytes",
    "budget_written_bytes",
)


def config_from(settings: Settings) -> _abi.guest_config:
    """The defaults, and what is not None above them. The struct keeps what it points to alive."""
    check_names(settings, Settings)
    values: Mapping[str, Any] = dict(settings)
    config = _abi.guest_config()
    _abi.lib.guest_config_init(config, ctypes.sizeof(config))
    config.flags = _flags(settings)
    rootfs = settings.get("rootfs")
    if isinstance(rootfs, int):
        config.rootfs_fd = unsigned("rootfs", rootfs, _INT32_MAX)
    elif rootfs is not None:
        config.rootfs_path = encode(rootfs)
    for name in ("hostname", "capabilities", "io_max", "cgroup_parent", "cache_dir"):
        if values.get(name) is not None:
            setattr(config, name, encode(values[name]))
    network = settings.get("network", False)
    if network not in _NETWORKS:
        raise ValueError(f'network must be a bool, "none" or "host", not {network!r}')
    config.network = _NETWORKS[network]
    config.uid = unsigned("uid", settings.get("uid", 0), _UINT32_MAX)
    config.gid = unsigned("gid", settings.get("gid", 0), _UINT32_MAX)
    for name in _NUMBERS:
        if values.get(name) is not None:
            setattr(config, name, unsigned(name, values[name]))
    config.budget_cpu_ns = nanoseconds(settings.get("budget_cpu"))
    config.budget_wall_ns = nanoseconds(settings.get("budget_wall"))
    mounts = settings.get("mounts", ())
    entries = [mount if isinstance(mount, Mount) else Mount(*mount) for mount in mounts]
    array = (_abi.guest_mount * len(entries))()
    for mount, entry in zip(array, entries):
        entry._fill(mount)
    config.mounts = array
    config.mounts_count = len(entries)
    return config


def _flags(settings: Settings) -> int:
    flags = _abi.GUEST_BEST_EFFORT if settings.get("best_effort") else 0
    flags |= 0 if settings.get("seccomp", True) else _abi.GUEST_NO_SECCOMP
    flags |= _abi.GUEST_CGROUP if settings.get("cgroup") else 0
    flags |= _abi.GUEST_MOVE_HOST if settings.get("move_host") else 0
    return flags

# SPDX-License-Identifier: MIT
"""From the arguments of Guest() to a struct guest_config."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Iterable, Optional, Tuple, Union

from . import _abi
from ._text import Text, encode, unsigned

_INT32_MAX = 2**31 - 1
_UINT32_MAX = 2**32 - 1
_NETWORKS = {
    False: _abi.GUEST_NETWORK_NONE,
    "none": _abi.GUEST_NETWORK_NONE,
    True: _abi.GUEST_NETWORK_HOST,
    "host": _abi.GUEST_NETWORK_HOST,
}


@dataclass(frozen=True)
class Mount:
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


def config_from(
    rootfs: Union[Text, int, None],
    *,
    hostname: Optional[str],
    capabilities: Optional[str],
    io_max: Optional[str],
    cgroup_parent: Optional[Text],
    network: Union[bool, str],
    mounts: Iterable[Union[Mount, Tuple[Any, ...]]],
    flags: int,
    uid: int,
    gid: int,
    **numbers: Optional[int],
) -> _abi.guest_config:
    """The defaults, and what is not None above them. The struct keeps what it points to alive."""
    config = _abi.guest_config()
    _abi.lib.guest_config_init(config, ctypes.sizeof(config))
    config.flags = flags
    if isinstance(rootfs, int):
        config.rootfs_fd = unsigned("rootfs", rootfs, _INT32_MAX)
    elif rootfs is not None:
        config.rootfs_path = encode(rootfs)
    texts = (
        ("hostname", hostname),
        ("capabilities", capabilities),
        ("io_max", io_max),
        ("cgroup_parent", cgroup_parent),
    )
    for name, text in texts:
        if text is not None:
            setattr(config, name, encode(text))
    if network not in _NETWORKS:
        raise ValueError(f'network must be a bool, "none" or "host", not {network!r}')
    config.network = _NETWORKS[network]
    config.uid = unsigned("uid", uid, _UINT32_MAX)
    config.gid = unsigned("gid", gid, _UINT32_MAX)
    for name, number in numbers.items():
        if number is not None:
            setattr(config, name, unsigned(name, number))
    entries = [mount if isinstance(mount, Mount) else Mount(*mount) for mount in mounts]
    array = (_abi.guest_mount * len(entries))()
    for mount, entry in zip(array, entries):
        entry._fill(mount)
    config.mounts = array
    config.mounts_count = len(entries)
    return config

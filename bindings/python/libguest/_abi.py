# SPDX-License-Identifier: MIT
"""<guest/guest.h> in ctypes: constants, structs and prototypes, under their own names."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char, c_char_p, c_int, c_int32, c_size_t, c_uint32, c_uint64, c_void_p

from ._find import load

GUEST_NETWORK_NONE = 0
GUEST_NETWORK_HOST = 1

GUEST_NO_SECCOMP = 1 << 0
GUEST_BEST_EFFORT = 1 << 1

GUEST_MOUNT_BIND = 0
GUEST_MOUNT_TMPFS = 1

GUEST_TRUNCATE_OUTPUT = 1 << 0
GUEST_MERGE_STDERR = 1 << 1
GUEST_NO_CAPTURE = 1 << 2

GUEST_STDOUT = 1
GUEST_STDERR = 2

GUEST_EXITED = 1
GUEST_SIGNALED = 2
GUEST_TIMED_OUT = 3
GUEST_OOM_KILLED = 4
GUEST_OUTPUT_LIMIT = 5
GUEST_CANCELLED = 6

GUEST_FINDING_OK = 0
GUEST_FINDING_NOTE = 1
GUEST_FINDING_FAILED = 2


class guest_error(ctypes.Structure):
    _fields_ = [
        ("size", c_uint32),
        ("code", c_int32),
        ("sys_errno", c_int32),
        ("stage", c_int32),
        ("message", c_char * 240),
    ]


class guest_mount(ctypes.Structure):
    _fields_ = [
        ("size", c_uint32),
        ("type", c_uint32),
        ("source", c_char_p),
        ("target", c_char_p),
        ("options", c_char_p),
    ]


class guest_config(ctypes.Structure):
    _fields_ = [
        ("size", c_uint32),
        ("flags", c_uint32),
        ("rootfs_path", c_char_p),
        ("rootfs_fd", c_int32),
        ("network", c_uint32),
        ("hostname", c_char_p),
        ("writable_bytes", c_uint64),
        ("writable_inodes", c_uint64),
        ("mounts", POINTER(guest_mount)),
        ("mounts_count", c_uint64),
        ("capabilities", c_char_p),
        ("uid", c_uint32),
        ("gid", c_uint32),
        ("memory_bytes", c_uint64),
        ("pids_max", c_uint64),
        ("cpu_quota", c_uint64),
        ("rootfs_bytes", c_uint64),
        ("rootfs_inodes", c_uint64),
    ]


on_output_function = ctypes.CFUNCTYPE(c_int, c_void_p, c_uint32, c_void_p, c_size_t)


class guest_command(ctypes.Structure):
    _fields_ = [
        ("size", c_uint32),
        ("flags", c_uint32),
        ("argv", POINTER(c_char_p)),
        ("envp", POINTER(c_char_p)),
        ("cwd", c_char_p),
        ("stdin_data", c_char_p),
        ("stdin_size", c_uint64),
        ("stdin_fd", c_int32),
        ("stdout_fd", c_int32),
        ("stderr_fd", c_int32),
        ("reserved", c_uint32),
        ("timeout_ns", c_uint64),
        ("output_limit_bytes", c_uint64),
        ("on_output", on_output_function),
        ("user_data", c_void_p),
    ]


class guest_result(ctypes.Structure):
    _fields_ = [
        ("size", c_uint32),
        ("cause", c_uint32),
        ("exit_code", c_int32),
        ("term_signal", c_int32),
        ("stdout_data", c_void_p),
        ("stdout_size", c_uint64),
        ("stderr_data", c_void_p),
        ("stderr_size", c_uint64),
        ("truncated", c_uint32),
        ("reserved", c_uint32),
        ("wall_ns", c_uint64),
        ("user_ns", c_uint64),
        ("system_ns", c_uint64),
        ("max_rss_bytes", c_uint64),
        ("memory_peak_bytes", c_uint64),
    ]


class guest_finding(ctypes.Structure):
    _fields_ = [
        ("size", c_uint32),
        ("status", c_uint32),
        ("name", c_char_p),
        ("detail", c_char_p),
        ("remedy", c_char_p),
    ]


on_finding_function = ctypes.CFUNCTYPE(c_int, c_void_p, POINTER(guest_finding))

PROTOTYPES = {
    "guest_config_init": (c_int, [POINTER(guest_config), c_size_t]),
    "guest_command_init": (c_int, [POINTER(guest_command), c_size_t]),
    "guest_init": (c_int, [POINTER(c_void_p), POINTER(guest_config), POINTER(guest_error)]),
    "guest_run": (
        c_int,
        [c_void_p, POINTER(guest_command), POINTER(guest_result), POINTER(guest_error)],
    ),
    "guest_result_clear": (None, [POINTER(guest_result)]),
    "guest_shutdown": (c_int, [c_void_p, POINTER(guest_error)]),
    "guest_trim": (c_int, [POINTER(guest_error)]),
    "guest_doctor": (c_int, [on_finding_function, c_void_p, POINTER(guest_error)]),
    "guest_stage_name": (c_char_p, [c_int32]),
    "guest_cause_name": (c_char_p, [c_uint32]),
    "guest_rootfs_description": (c_char_p, []),
    "guest_version": (c_char_p, []),
}

lib = load()
for _name, (_result, _arguments) in PROTOTYPES.items():
    _function = getattr(lib, _name)
    _function.restype = _result
    _function.argtypes = _arguments

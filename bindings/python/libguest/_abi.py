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
GUEST_CGROUP = 1 << 2
GUEST_MOVE_HOST = 1 << 3

GUEST_MOUNT_BIND = 0
GUEST_MOUNT_TMPFS = 1

GUEST_TRUNCATE_OUTPUT = 1 << 0
GUEST_MERGE_STDERR = 1 << 1
GUEST_NO_CAPTURE = 1 << 2
GUEST_KEEP_BACKGROUND = 1 << 3

GUEST_STDOUT = 1
GUEST_STDERR = 2

GUEST_EXITED = 1
GUEST_SIGNALED = 2
GUEST_TIMED_OUT = 3
GUEST_OOM_KILLED = 4
GUEST_OUTPUT_LIMIT = 5
GUEST_CANCELLED = 6
GUEST_CPU_TIME = 7
GUEST_TOO_MANY_PROCESSES = 8
GUEST_DISK_FULL = 9
GUEST_SECCOMP_KILLED = 10
GUEST_LOST = 11

GUEST_SEEN_OOM = 1 << 0
GUEST_SEEN_PIDS_MAX = 1 << 1
GUEST_SEEN_DISK_FULL = 1 << 2
GUEST_SEEN_BUDGET = 1 << 3
GUEST_SEEN_SUSPECTED = 1 << 4

GUEST_ENFORCED_NOT = 0
GUEST_ENFORCED_CGROUP2 = 1
GUEST_ENFORCED_CGROUP2_SYSTEMD = 2
GUEST_ENFORCED_RLIMIT = 3
GUEST_ENFORCED_SAMPLED = 4

GUEST_TEMPLATE_UNPACKED = 1
GUEST_TEMPLATE_DIRECTORY = 2
GUEST_TEMPLATE_CACHED = 3
GUEST_TEMPLATE_FILLED = 4
GUEST_TEMPLATE_NO_CACHE = 5

GUEST_LIMIT_KEEP = 2**64 - 1

GUEST_POOL_MAX = 1024

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
        ("memory_high_bytes", c_uint64),
        ("cpu_weight", c_uint64),
        ("io_max", c_char_p),
        ("cgroup_parent", c_char_p),
        ("budget_commands", c_uint64),
        ("budget_cpu_ns", c_uint64),
        ("budget_wall_ns", c_uint64),
        ("budget_output_bytes", c_uint64),
        ("budget_written_bytes", c_uint64),
        ("cache_dir", c_char_p),
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
        ("memory_bytes", c_uint64),
        ("pids_max", c_uint64),
        ("cpu_quota", c_uint64),
        ("cpu_time_ns", c_uint64),
        ("address_space_bytes", c_uint64),
        ("data_bytes", c_uint64),
        ("file_size_bytes", c_uint64),
        ("open_files", c_uint64),
        ("memory_high_bytes", c_uint64),
        ("cpu_weight", c_uint64),
        ("io_max", c_char_p),
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
        ("seen", c_uint32),
        ("wall_ns", c_uint64),
        ("user_ns", c_uint64),
        ("system_ns", c_uint64),
        ("max_rss_bytes", c_uint64),
        ("memory_peak_bytes", c_uint64),
        ("minor_faults", c_uint64),
        ("major_faults", c_uint64),
        ("stdin_bytes", c_uint64),
        ("stdout_bytes", c_uint64),
        ("stderr_bytes", c_uint64),
        ("written_bytes", c_uint64),
        ("processes", c_uint64),
        ("setup_ns", c_uint64),
        ("memory_enforced", c_uint32),
        ("pids_enforced", c_uint32),
        ("cpu_enforced", c_uint32),
        ("cpu_time_enforced", c_uint32),
        ("memory_high_enforced", c_uint32),
        ("cpu_weight_enforced", c_uint32),
        ("io_enforced", c_uint32),
        ("reserved", c_uint32),
    ]


class guest_limits(ctypes.Structure):
    _fields_ = [
        ("size", c_uint32),
        ("flags", c_uint32),
        ("memory_bytes", c_uint64),
        ("memory_high_bytes", c_uint64),
        ("pids_max", c_uint64),
        ("cpu_quota", c_uint64),
        ("cpu_weight", c_uint64),
        ("io_max", c_char_p),
    ]


class guest_info(ctypes.Structure):
    _fields_ = [
        ("size", c_uint32),
        ("running", c_uint32),
        ("memory_enforced", c_uint32),
        ("memory_high_enforced", c_uint32),
        ("pids_enforced", c_uint32),
        ("cpu_enforced", c_uint32),
        ("cpu_weight_enforced", c_uint32),
        ("io_enforced", c_uint32),
        ("cgroup", c_char_p),
        ("memory_bytes", c_uint64),
        ("memory_high_bytes", c_uint64),
        ("pids_max", c_uint64),
        ("cpu_quota", c_uint64),
        ("cpu_weight", c_uint64),
        ("writable_bytes", c_uint64),
        ("writable_inodes", c_uint64),
        ("commands", c_uint64),
        ("cpu_ns", c_uint64),
        ("wall_ns", c_uint64),
        ("output_bytes", c_uint64),
        ("written_bytes", c_uint64),
        ("memory_now_bytes", c_uint64),
        ("memory_peak_bytes", c_uint64),
        ("processes_now", c_uint64),
        ("writable_used_bytes", c_uint64),
        ("writable_used_inodes", c_uint64),
        ("template_source", c_uint32),
        ("reserved", c_uint32),
        ("cache_error", c_char_p),
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

_config, _command, _result = POINTER(guest_config), POINTER(guest_command), POINTER(guest_result)
_error = POINTER(guest_error)

PROTOTYPES = {
    "guest_config_init": (c_int, [_config, c_size_t]),
    "guest_command_init": (c_int, [_command, c_size_t]),
    "guest_init": (c_int, [POINTER(c_void_p), _config, _error]),
    "guest_run": (c_int, [c_void_p, _command, _result, _error]),
    "guest_spawn": (c_int, [c_void_p, _command, POINTER(c_void_p), _error]),
    "guest_wait": (c_int, [c_void_p, c_uint64, _result, _error]),
    "guest_process_fd": (c_int, [c_void_p]),
    "guest_kill": (c_int, [c_void_p, c_int, _error]),
    "guest_cancel": (c_int, [c_void_p, _error]),
    "guest_process_free": (None, [c_void_p]),
    "guest_result_clear": (None, [_result]),
    "guest_shutdown": (c_int, [c_void_p, _error]),
    "guest_pause": (c_int, [c_void_p, _error]),
    "guest_resume": (c_int, [c_void_p, _error]),
    "guest_limits_init": (c_int, [POINTER(guest_limits), c_size_t]),
    "guest_set_limits": (c_int, [c_void_p, POINTER(guest_limits), _error]),
    "guest_info": (c_int, [c_void_p, POINTER(guest_info), _error]),
    "guest_pool_init": (c_int, [POINTER(c_void_p), _config, c_uint32, _error]),
    "guest_pool_take": (c_int, [c_void_p, POINTER(c_void_p), _error]),
    "guest_pool_ready": (c_uint32, [c_void_p]),
    "guest_pool_shutdown": (c_int, [c_void_p, _error]),
    "guest_trim": (c_int, [_error]),
    "guest_doctor": (c_int, [on_finding_function, c_void_p, _error]),
    "guest_stage_name": (c_char_p, [c_int32]),
    "guest_cause_name": (c_char_p, [c_uint32]),
    "guest_enforcer_name": (c_char_p, [c_uint32]),
    "guest_rootfs_description": (c_char_p, []),
    "guest_version": (c_char_p, []),
}

lib = load()
for _name, (_returns, _arguments) in PROTOTYPES.items():
    _function = getattr(lib, _name)
    _function.restype = _returns
    _function.argtypes = _arguments

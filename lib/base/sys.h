/* SPDX-License-Identifier: MIT */
/*
 * System calls and constants that the C libraries of some supported systems lack: thin wrappers
 * with the kernel's own semantics, -1 and errno on failure.
 */
#ifndef GUEST_BASE_SYS_H
#define GUEST_BASE_SYS_H

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define SYS_MFD_NOEXEC_SEAL 0x0008U
#define SYS_MFD_EXEC 0x0010U

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

#ifndef PIDFD_GET_MNT_NAMESPACE
#define PIDFD_GET_MNT_NAMESPACE _IO(0xff, 3)
#endif

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/*
 * A guest's filter is the keeper's (confine.c), which lets the calls through that make a guest if
 * they have this number, which nobody else knows, as their sixth argument: none of them has one.
 */
#ifdef __GLIBC__
#define SYS_WORD 0UL /* the host program */
#else
extern uint64_t sys_word;
#define SYS_WORD sys_word
#endif

static inline int sys_memfd_create(const char *name, unsigned int flags)
{
	return (int)syscall(SYS_memfd_create, name, flags);
}

static inline int sys_pidfd_open(pid_t pid, unsigned int flags)
{
	return (int)syscall(SYS_pidfd_open, pid, flags);
}

static inline int sys_pidfd_send_signal(int pidfd, int sig)
{
	return (int)syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0U);
}

static inline int sys_close_range(unsigned int first, unsigned int last, unsigned int flags)
{
	return (int)syscall(SYS_close_range, first, last, flags);
}

/* Fork-style: the child goes on from here on a copy of the stack. */
static inline pid_t sys_clone3(struct clone_args *args)
{
	return (pid_t)syscall(SYS_clone3, args, sizeof(*args), 0UL, 0UL, 0UL, SYS_WORD);
}

/* The same with clone(2), which works where a filter answers clone3 with ENOSYS. */
static inline pid_t sys_clone(unsigned long flags, int *pidfd)
{
#if defined(__s390__)
	return (pid_t)syscall(SYS_clone, NULL, flags, pidfd, NULL, 0UL, SYS_WORD);
#else
	return (pid_t)syscall(SYS_clone, flags, NULL, pidfd, NULL, 0UL, SYS_WORD);
#endif
}

static inline int sys_execveat(int dir, const char *path, char *const argv[], char *const envp[],
			       int flags)
{
	return (int)syscall(SYS_execveat, dir, path, argv, envp, flags);
}

static inline int sys_mount(const char *source, const char *target, const char *type,
			    unsigned long flags, const void *data)
{
	return (int)syscall(SYS_mount, source, target, type, flags, data, SYS_WORD);
}

static inline int sys_umount2(const char *target, int flags)
{
	return (int)syscall(SYS_umount2, target, flags, 0UL, 0UL, 0UL, SYS_WORD);
}

static inline int sys_setns(int fd, int type)
{
	return (int)syscall(SYS_setns, fd, type, 0UL, 0UL, 0UL, SYS_WORD);
}

static inline int sys_pivot_root(const char *new_root, const char *put_old)
{
	return (int)syscall(SYS_pivot_root, new_root, put_old, 0UL, 0UL, 0UL, SYS_WORD);
}

static inline int sys_open_tree(int dir, const char *path, unsigned int flags)
{
	return (int)syscall(SYS_open_tree, dir, path, flags, 0UL, 0UL, SYS_WORD);
}

static inline int sys_move_mount(int from, const char *from_path, int to, const char *to_path,
				 unsigned int flags)
{
	return (int)syscall(SYS_move_mount, from, from_path, to, to_path, flags, SYS_WORD);
}

static inline int sys_mount_setattr(int dir, const char *path, unsigned int flags,
				    struct mount_attr *attr)
{
	return (int)syscall(SYS_mount_setattr, dir, path, flags, attr, sizeof(*attr), SYS_WORD);
}

static inline int sys_openat2(int dir, const char *path, uint64_t flags, uint64_t mode,
			      uint64_t resolve)
{
	struct open_how how = { .flags = flags, .mode = mode, .resolve = resolve };

	return (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

static inline int sys_capset(const struct __user_cap_header_struct *header,
			     const struct __user_cap_data_struct *data)
{
	return (int)syscall(SYS_capset, header, data);
}

/* `word` may lie in memory shared between processes; all who wait are woken. */
static inline int sys_futex_wait(uint32_t *word, uint32_t value, const struct timespec *timeout)
{
	return (int)syscall(SYS_futex, word, FUTEX_WAIT, value, timeout, NULL, 0);
}

static inline int sys_futex_wake(uint32_t *word)
{
	return (int)syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/*
 * The helper (musl) makes the system call: for the pages of the vDSO, each new holder and command
 * would take faults, which cost more than the few calls that it makes.
 */
static inline uint64_t sys_clock_ns(clockid_t clock)
{
	struct timespec time;

#ifdef __GLIBC__
	clock_gettime(clock, &time);
#else
	syscall(SYS_clock_gettime, clock, &time);
#endif
	return (uint64_t)time.tv_sec * 1000000000U + (uint64_t)time.tv_nsec;
}

/* Nanoseconds of CLOCK_MONOTONIC. */
static inline uint64_t sys_now_ns(void)
{
	return sys_clock_ns(CLOCK_MONOTONIC);
}

#endif

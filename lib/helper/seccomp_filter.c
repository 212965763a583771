// SPDX-License-Identifier: MIT
/*
 * Runs at build time: prints a seccomp filter as the initialisers of an array of struct
 * sock_filter.
 *
 *     seccomp_filter default|minimal|marker
 *
 * The filter is a deny list that answers with an errno, never a kill, so that programs can do
 * without what they do not get. Every process of a guest has it, and holder and keeper, too, who
 * may make guests by their word (confine.c).
 *
 *   ENOSYS   foreign system call tables (i386, x32), what is newer than this list, and clone3,
 *            whose arguments a filter cannot read: C libraries fall back on clone
 *   EPERM    what is of use only against the kernel or the host
 *   EINVAL   splice and sendfile, by which a guest could hold up whoever reads its output
 *   ENOMEM   huge pages of the host's pool, which no limit counts
 *   success  a limit on core files, which stays what it is
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/kcmp.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "helper/filter.h"

/* The last system call that this list was checked against: map_shadow_stack, Linux 6.7. */
#define NEWEST_SYSCALL 453

#define LOW_32_BITS 0xffffffffULL

#define PTRACE_OLDSETOPTIONS 21 /* on x86 the same as PTRACE_SETOPTIONS; elsewhere nothing */

/*
 * Denied even without the filter. Keys are kept apart by no namespace: a guest would have those in
 * the host's session keyring, and its quota. A write(2) to a pipe from a page that userfaultfd is
 * to fill keeps the pipe's lock for as long, as splice does.
 */
static const char *const always_denied[] = { "add_key", "keyctl", "request_key", "userfaultfd" };

/*
 * While they wait for a socket, these keep the lock of a pipe, and everybody else who reads,
 * writes, asks or closes it waits for that, past any signal: the host, whose pipe stdout is, for
 * ever. What calls them falls back on read and write, as sendfile(2) says.
 */
static const char *const lock_pipes[] = { "splice", "sendfile", "sendfile64" };

/* It has a splice of its own. */
static const char *const always_absent[] = {
	"io_uring_setup",
	"io_uring_enter",
	"io_uring_register",
};

static const char *const denied[] = {
	/* modules, other kernels, the machine */
	"create_module",
	"delete_module",
	"finit_module",
	"get_kernel_syms",
	"init_module",
	"query_module",
	"kexec_file_load",
	"kexec_load",
	"reboot",
	"swapon",
	"swapoff",
	"acct",
	"quotactl",
	"quotactl_fd",
	"syslog",
	"ioperm",
	"iopl",
	"nfsservctl",
	"vhangup",
	"uselib",
	"sysfs",
	"_sysctl",
	"ustat",
	/* clocks */
	"settimeofday",
	"stime",
	"clock_settime",
	"clock_settime64",
	"clock_adjtime",
	"clock_adjtime64",
	"adjtimex",
	/* mounts and namespaces: a guest's are made by its holder, in other ways */
	"umount",
	"fsopen",
	"fsconfig",
	"fsmount",
	"fspick",
	"open_by_handle_at",
	"fanotify_init",
	/* large parts of the kernel that are often broken, or count against the host's user */
	"bpf",
	"perf_event_open",
	"lookup_dcookie",
	"modify_ldt",
	"vm86",
	"vm86old",
	"move_pages",
	"mbind",
	"migrate_pages",
	"process_madvise",
	"name_to_handle_at",
};

/* Kept where nobody looks for it, or of a quota that is the whole host's. */
static const char *const absent[] = { "memfd_secret", "io_setup" };

/* Programs in the kernel, the memory of which is limited for the whole host: of unprivileged ones
 * no other could be made any more, such as the next guest's filter. */
static const int denied_options[] = {
	SO_ATTACH_FILTER,
	SO_ATTACH_BPF,
	SO_ATTACH_REUSEPORT_CBPF,
	SO_ATTACH_REUSEPORT_EBPF,
};

#define NAMESPACES \
	(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)
#define TIME_NAMESPACE 0x80 /* of unshare only: in clone it is of the exit signal */

/* Who knows the word may, by a sixth argument. Others may not if any of these bits is in the first
 * one; 0: never. */
static const struct {
	unsigned int number;
	uint32_t bits;
	int errnum;
} guarded[] = {
	{ SYS_clone, NAMESPACES, EPERM },
	/* memory is looked for among the fds of each process: no thread has others */
	{ SYS_unshare, NAMESPACES | TIME_NAMESPACE | CLONE_FILES, EPERM },
	{ SYS_mount, 0, EPERM },
	{ SYS_umount2, 0, EPERM },
	{ SYS_pivot_root, 0, EPERM },
	{ SYS_move_mount, 0, EPERM },
	{ SYS_open_tree, 0, EPERM },
	{ SYS_mount_setattr, 0, EPERM },
	{ SYS_setns, 0, EPERM },
	{ SYS_clone3, 0, ENOSYS },
};
#define GUARDED (sizeof(guarded) / sizeof(guarded[0]))

/* Putting characters into a terminal that the host shares with the guest. */
static const uint64_t denied_ioctls[] = { TIOCSTI, TIOCLINUX };

/* In ascending order. */
static const int allowed_families[] = { AF_UNSPEC, AF_UNIX, AF_INET, AF_INET6, AF_NETLINK };
#define ALLOWED_FAMILIES (sizeof(allowed_families) / sizeof(allowed_families[0]))

static int failed;

static void deny(scmp_filter_ctx context, const char *name, int errnum, unsigned int count,
		 struct scmp_arg_cmp compare)
{
	int number = seccomp_syscall_resolve_name(name);

	if (number ==
	    __NR_SCMP_ERROR) /* older libseccomp; the kernel then has it above NEWEST_SYSCALL */
		return;
	if (seccomp_rule_add(context, SCMP_ACT_ERRNO((uint16_t)errnum), number, count, compare) < 0)
		failed = 1;
}

static void deny_always(scmp_filter_ctx context, const char *name, int errnum)
{
	deny(context, name, errnum, 0, (struct scmp_arg_cmp){ 0 });
}

static void deny_family(scmp_filter_ctx context, struct scmp_arg_cmp compare)
{
	deny(context, "socket", EAFNOSUPPORT, 1, compare);
	deny(context, "socketpair", EAFNOSUPPORT, 1, compare);
}

/* The fewer rules, the sooner the kernel has made a program of them: each guest waits for it. */
static void deny_sockets(scmp_filter_ctx context)
{
	const int last = allowed_families[ALLOWED_FAMILIES - 1];
	size_t next = 0;

	for (int family = 0; family < last; family++) {
		if (family == allowed_families[next])
			next++;
		else
			deny_family(context,
				    SCMP_A0(SCMP_CMP_MASKED_EQ, LOW_32_BITS, (scmp_datum_t)family));
	}
	/* as is a family with anything in the upper half, which the kernel ignores */
	deny_family(context, SCMP_A0(SCMP_CMP_GT, (scmp_datum_t)last));
}

static void deny_both(scmp_filter_ctx context, const char *name, int errnum,
		      struct scmp_arg_cmp one, struct scmp_arg_cmp other)
{
	if (seccomp_rule_add(context, SCMP_ACT_ERRNO((uint16_t)errnum),
			     seccomp_syscall_resolve_name(name), 2, one, other) < 0)
		failed = 1;
}

/*
 * Memory is looked for where processes have it mapped, and among the fds of each (usage.c): no
 * thread has others than its process. Huge pages are counted by nobody.
 */
static void hide_no_memory(scmp_filter_ctx context)
{
	for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
		deny_always(context, absent[i], ENOSYS);
	deny(context, "clone", EPERM, 1,
	     SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_FILES, CLONE_THREAD));
	deny(context, "close_range", EINVAL, 1,
	     SCMP_A2(SCMP_CMP_MASKED_EQ, CLOSE_RANGE_UNSHARE, CLOSE_RANGE_UNSHARE));
	deny(context, "mmap", ENOMEM, 1, SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_HUGETLB, MAP_HUGETLB));
	deny(context, "memfd_create", ENOMEM, 1,
	     SCMP_A1(SCMP_CMP_MASKED_EQ, MFD_HUGETLB, MFD_HUGETLB));
	deny(context, "shmget", ENOMEM, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, SHM_HUGETLB, SHM_HUGETLB));
}

static void fill_default(scmp_filter_ctx context)
{
	for (size_t i = 0; i < sizeof(denied) / sizeof(denied[0]); i++)
		deny_always(context, denied[i], EPERM);
	for (size_t i = 0; i < sizeof(denied_ioctls) / sizeof(denied_ioctls[0]); i++)
		deny(context, "ioctl", EPERM, 1,
		     SCMP_A1(SCMP_CMP_MASKED_EQ, LOW_32_BITS, denied_ioctls[i]));
	for (size_t i = 0; i < sizeof(denied_options) / sizeof(denied_options[0]); i++)
		deny_both(context, "setsockopt", EPERM,
			  SCMP_A1(SCMP_CMP_MASKED_EQ, LOW_32_BITS, SOL_SOCKET),
			  SCMP_A2(SCMP_CMP_MASKED_EQ, LOW_32_BITS,
				  (scmp_datum_t)denied_options[i]));
	deny_sockets(context);
	hide_no_memory(context);
	/* on a file that the caller has bound: who opens it on the host would have to wait */
	for (size_t i = 0; i < 2; i++)
		deny(context, i == 0 ? "fcntl" : "fcntl64", EPERM, 1,
		     SCMP_A1(SCMP_CMP_MASKED_EQ, LOW_32_BITS, F_SETLEASE));
	/* whether two processes share their memory is what the holder asks (usage.c) */
	deny(context, "kcmp", EPERM, 1, SCMP_A2(SCMP_CMP_NE, KCMP_VM));
}

/*
 * prlimit64 checks ids only: with it any process could kill PID 1 by RLIMIT_CPU, or starve it.
 *
 * PTRACE_O_TRACEEXIT makes a process stop on its way out, SIGKILL or not, until its tracer goes on.
 * Two that trace each other so can never be killed, and outlive guest and host program.
 *
 * RLIMIT_CORE is 1 (holder.c), which alone keeps a program of the host's from being started for a
 * core dump (core(5)), and stays so.
 */
static void fill_minimal(scmp_filter_ctx context)
{
	static const uint64_t requests[] = { PTRACE_SEIZE, PTRACE_SETOPTIONS,
					     PTRACE_OLDSETOPTIONS };

	if (seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prlimit64), 2,
			     SCMP_A0(SCMP_CMP_NE, 0), SCMP_A2(SCMP_CMP_NE, 0)) < 0)
		failed = 1;
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		if (seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ptrace), 2,
				     SCMP_A0(SCMP_CMP_MASKED_EQ, LOW_32_BITS, requests[i]),
				     SCMP_A3(SCMP_CMP_MASKED_EQ, PTRACE_O_TRACEEXIT,
					     PTRACE_O_TRACEEXIT)) < 0)
			failed = 1;
	deny(context, "setrlimit", 0, 1, SCMP_A0(SCMP_CMP_MASKED_EQ, LOW_32_BITS, RLIMIT_CORE));
	if (seccomp_rule_add(context, SCMP_ACT_ERRNO(0), SCMP_SYS(prlimit64), 3,
			     SCMP_A0(SCMP_CMP_EQ, 0),
			     SCMP_A1(SCMP_CMP_MASKED_EQ, LOW_32_BITS, RLIMIT_CORE),
			     SCMP_A2(SCMP_CMP_NE, 0)) < 0)
		failed = 1;
	for (size_t i = 0; i < sizeof(always_denied) / sizeof(always_denied[0]); i++)
		deny_always(context, always_denied[i], EPERM);
	for (size_t i = 0; i < sizeof(lock_pipes) / sizeof(lock_pipes[0]); i++)
		deny_always(context, lock_pipes[i], EINVAL);
	for (size_t i = 0; i < sizeof(always_absent) / sizeof(always_absent[0]); i++)
		deny_always(context, always_absent[i], ENOSYS);
}

static void print_instruction(struct sock_filter instruction)
{
	printf("{ 0x%04x, %u, %u, 0x%08x },\n", instruction.code, instruction.jt, instruction.jf,
	       instruction.k);
}

/* Before libseccomp's own program, whose jumps are relative: system calls that are not in the list
 * yet. */
static void print_newest_check(void)
{
	print_instruction((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						       offsetof(struct seccomp_data, nr)));
	print_instruction(
		(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, NEWEST_SYSCALL, 0, 1));
	print_instruction(
		(struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS));
}

/*
 * Before it, too, what libseccomp cannot say: the word, in one comparison, so that the time it
 * takes tells nothing of its halves; and any of several bits. The system call's number is loaded
 * already.
 */
static void print_guards(void)
{
	const uint32_t low = offsetof(struct seccomp_data, args[5]), high = low + sizeof(uint32_t);

	for (size_t i = 0; i < GUARDED; i++) {
		enum { SIZE = 11, MATCH = 7, BITS = 9 };
		const uint8_t rest = (uint8_t)(SIZE * (GUARDED - i)); /* from this one on */
		const struct sock_filter guard[SIZE] = {
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, guarded[i].number, 0, SIZE - 1),
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, low),
			BPF_STMT(BPF_ALU | BPF_XOR | BPF_K, (uint32_t)FILTER_WORD),
			BPF_STMT(BPF_MISC | BPF_TAX, 0),
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, high),
			BPF_STMT(BPF_ALU | BPF_XOR | BPF_K, (uint32_t)(FILTER_WORD >> 32)),
			BPF_STMT(BPF_ALU | BPF_OR | BPF_X, 0),
			[MATCH] = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, rest - MATCH - 1, 0),
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
			[BITS] = BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, guarded[i].bits, 0,
					  guarded[i].bits ? rest - BITS - 1 : 0),
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)guarded[i].errnum),
		};

		for (size_t k = 0; k < SIZE; k++)
			print_instruction(guard[k]);
	}
}

static int print_filter(scmp_filter_ctx context)
{
	struct sock_filter instruction;
	int fd = memfd_create("filter", MFD_CLOEXEC);

	if (fd < 0 || seccomp_export_bpf(context, fd) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return 1;
	while (read(fd, &instruction, sizeof(instruction)) == (ssize_t)sizeof(instruction))
		print_instruction(instruction);
	close(fd);
	return 0;
}

/*
 * For commands with CAP_SYS_ADMIN: what a run has started is known by its cgroup namespace
 * (sweep.c), which nothing of it may leave.
 */
static void fill_marker(scmp_filter_ctx context)
{
	deny(context, "unshare", EPERM, 1,
	     SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWCGROUP, CLONE_NEWCGROUP));
	deny(context, "clone", EPERM, 1,
	     SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWCGROUP, CLONE_NEWCGROUP));
	deny_always(context, "clone3", ENOSYS);
	deny_always(context, "setns", EPERM);
}

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "";
	scmp_filter_ctx context = seccomp_init(SCMP_ACT_ALLOW);

	if (!context)
		return 1;
	/* a foreign table has prlimit too, and a filter for just one table would not see it */
	seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
	seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (strcmp(kind, "marker") == 0)
		fill_marker(context);
	else
		fill_minimal(context);
	if (strcmp(kind, "default") == 0) {
		fill_default(context);
		print_newest_check();
		print_guards();
	}
	failed |= print_filter(context);
	seccomp_release(context);
	return failed;
}

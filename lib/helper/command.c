// SPDX-License-Identifier: MIT
/*
 * Between clone and exec: only what is async-signal-safe, no stdio, no malloc. What all commands of
 * a guest have in common (bounding set, no_new_privs, filter, no core files) they inherit from the
 * holder.
 *
 * The child shares the holder's memory, if that is safe. It is no vfork: a guest process may stop
 * the child before its exec, and the holder would hang with it. Nobody in the guest can look into
 * it, since that memory is the holder's, which is not dumpable.
 */
#include <alloca.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "helper/helper.h"

__attribute__((noreturn)) static void fail(const struct command *command, int errnum, int stage,
					   const char *what)
{
	struct guest_error err = { .size = sizeof(err) };

	/* musl's vsnprintf takes no lock and no memory */
	error_make(&err, errnum, stage, "%s", what);
	wire_send_failed(command->socket, &err);
	_exit(127);
}

static void set_stdio(const struct command *command)
{
	for (int fd = 0; fd < 3; fd++)
		if (dup2(command->stdio[fd], fd) < 0)
			fail(command, errno, GUEST_STAGE_PIPE, "stdio");
	/* all are born so; but nothing is worth more than this */
	sys_close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
}

/* Only where clone3(2) could not do it: this takes the kernel much longer. */
static void enter_cgroup(const struct command *command)
{
	int r = fd_write_file_at(command->cgroup, "cgroup.procs", "0");

	if (r < 0)
		fail(command, -r, GUEST_STAGE_CGROUP, "entering the command's group");
}

/*
 * A cgroup namespace of its own, whose root is its group. Its link text is told to the holder, but
 * for the only command of a guest: procfs makes several objects for it.
 */
static void leave_marker(const struct command *command)
{
	char *marker = command->slot->marker;
	ssize_t n;

	if (command->cgroup >= 0 && !command->in_cgroup)
		enter_cgroup(command);
	if (!command->in_namespace && unshare(CLONE_NEWCGROUP) < 0)
		fail(command, errno, GUEST_STAGE_CGROUP, "cgroup namespace");
	if (command->is_alone)
		return;
	n = readlinkat(command->proc, "self/ns/cgroup", marker, COMMAND_MARKER_SIZE - 1);
	if (n < 0) /* without it, what this command leaves behind would not be found */
		fail(command, errno, GUEST_STAGE_FORK, "reading ns/cgroup");
	marker[n] = '\0';
}

static void set_capabilities(const struct command *command)
{
	const struct holder *holder = command->holder;
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	for (int i = 0; i < 2; i++) {
		data[i].permitted = data[i].effective =
			(uint32_t)(holder->capabilities >> (32 * i));
		data[i].inheritable = (uint32_t)(holder->inheritable >> (32 * i));
	}
	if (sys_capset(&header, data) < 0)
		fail(command, errno, GUEST_STAGE_CAPABILITIES, "capset");
	if (holder->uid == 0)
		return; /* root's exec gives the bounding set */
	for (int capability = 0; capability < 64; capability++)
		if (holder->inheritable >> capability & 1 &&
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0)
			fail(command, errno, GUEST_STAGE_CAPABILITIES, "ambient set");
}

/* What the holder may and its commands may not: leave the cgroup namespace. */
static void confine(const struct command *command)
{
	struct guest_error err = { .size = sizeof(err) };

	if (!(command->holder->capabilities >> CAP_SYS_ADMIN & 1))
		return;
	if (confine_seccomp(CONFINE_MARKER, &err) < 0)
		fail(command, err.sys_errno, GUEST_STAGE_SECCOMP, "command");
}

static void set_credentials(const struct command *command)
{
	const struct holder *holder = command->holder;

	if (holder->many_ids && (holder->uid | holder->gid)) {
		prctl(PR_SET_KEEPCAPS, 1);
		/* libc's own would have all threads do it, and look for them */
		if (syscall(SYS_setresgid, holder->gid, holder->gid, holder->gid) < 0 ||
		    syscall(SYS_setresuid, holder->uid, holder->uid, holder->uid) < 0)
			fail(command, errno, GUEST_STAGE_CREDENTIALS, "uid and gid");
		/* which it is now where sysctl fs.suid_dumpable is 1, with what is in the holder's
		   memory */
		prctl(PR_SET_DUMPABLE, 0);
	}
	set_capabilities(command);
}

static void set_limit(const struct command *command, int resource, uint64_t soft, uint64_t hard)
{
	const struct rlimit limit = { soft, hard };

	if (hard > 0 && setrlimit(resource, &limit) < 0)
		fail(command, errno, GUEST_STAGE_RLIMIT, "setrlimit");
}

static uint64_t lower(uint64_t own, uint64_t guests)
{
	return own > 0 && own < guests ? own : guests;
}

static void set_limits(const struct command *command)
{
	const struct wire_run_limits *limits = command->limits;
	const struct holder *holder = command->holder;
	/* should we come too late with our own look at it, the kernel does not */
	uint64_t seconds = limits->cpu_ns ? limits->cpu_ns / 1000000000 + 2 : 0;

	set_limit(command, RLIMIT_NOFILE, lower(limits->open_files, holder->nofile_soft),
		  lower(limits->open_files, holder->nofile_hard));
	set_limit(command, RLIMIT_AS, limits->address_space, limits->address_space);
	set_limit(command, RLIMIT_DATA, limits->data, limits->data);
	set_limit(command, RLIMIT_FSIZE, limits->file_size, limits->file_size);
	set_limit(command, RLIMIT_CPU, seconds, seconds);
	set_limit(command, RLIMIT_NPROC, holder->limits.processes, holder->limits.processes);
}

static void execute(const struct command *command, const char *file)
{
	command->slot->exec_ns = sys_now_ns();
	execve(file, command->argv, command->envp);
}

/* As execvp(3) does, but without its handing of scripts to a shell. */
static int search(const struct command *command)
{
	const char *name = command->argv[0], *at = command->path;
	size_t name_size = strlen(name) + 1, longest = strlen(at) + 1 + name_size;
	int remembered = ENOENT;
	char *file;

	if (longest > PATH_MAX)
		longest = PATH_MAX;
	file = alloca(longest); /* mostly on the page of the stack that is there already */

	for (;;) {
		size_t length = strcspn(at, ":");

		if (length + 1 + name_size <= longest) {
			memcpy(file, at, length);
			file[length] = '/';
			memcpy(file + (length ? length + 1 : 0), name, name_size);
			execute(command, file);
			if (errno == EACCES)
				remembered = EACCES;
			else if (errno != ENOENT && errno != ENOTDIR)
				return errno;
		}
		if (!at[length])
			return remembered;
		at += length + 1;
	}
}

__attribute__((noreturn)) static void command_exec(const struct command *command)
{
	const char *name = command->argv[0];
	sigset_t none;
	int errnum;

	setsid();
	if (command->holder->paused)
		kill(getpid(), SIGSTOP); /* until the others go on; raise(3) asks for a thread's id
					    that libc has cached, which is the launcher's */
	leave_marker(command);
	set_stdio(command);
	set_limits(command);
	confine(command);
	set_credentials(command);
	if (chdir(command->cwd) < 0)
		fail(command, errno, GUEST_STAGE_CHDIR, command->cwd);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (strchr(name, '/')) {
		execute(command, name);
		errnum = errno;
	} else {
		errnum = name[0] ? search(command) : ENOENT;
	}
	fail(command, errnum, GUEST_STAGE_EXECVE, name);
}

/* What libc knows of a thread, errno above all. A child that shares our memory needs its own. */
struct thread {
	void *self;
	char rest[248];
};

#ifdef __x86_64__
#define ARCH_SET_FS 0x1002 /* arch_prctl(2) */

static struct thread *thread_pointer(void)
{
	struct thread *thread;

	__asm__("mov %%fs:0, %0" : "=r"(thread));
	return thread;
}

static int set_thread_pointer(struct thread *thread)
{
	return (int)syscall(SYS_arch_prctl, ARCH_SET_FS, thread);
}
#else
static struct thread *thread_pointer(void)
{
	return NULL;
}

static int set_thread_pointer(struct thread *thread)
{
	(void)thread;
	return -1;
}
#endif

bool command_may_share(void)
{
	const struct thread *thread = thread_pointer();
	const char *place = (const char *)&errno;

	return thread && thread->self == thread && place >= thread->rest &&
	       place < thread->rest + sizeof(thread->rest);
}

static int begin(void *command)
{
	struct thread thread = *thread_pointer();

	thread.self = &thread;
	if (set_thread_pointer(&thread) < 0)
		_exit(127);
	command_exec(command);
}

/*
 * Into its control group in one step, so that nothing of it runs outside. The cgroup namespace must
 * then be made in there. Before Linux 5.7, or where a container's filter hides clone3(2), the
 * command goes there itself.
 */
static pid_t start_in_cgroup(struct command *command)
{
	struct clone_args args = {
		.flags = CLONE_INTO_CGROUP,
		.exit_signal = SIGCHLD,
		.cgroup = (uint64_t)command->cgroup,
	};
	pid_t pid;

	command->in_cgroup = true;
	pid = sys_clone3(&args);
	if (pid >= 0 || errno == EAGAIN || errno == ENOMEM)
		return pid;
	command->in_cgroup = false;
	return sys_clone(SIGCHLD, NULL);
}

/* A group's limit could be met, and who shares memory with whom is killed for it dies, too. */
bool command_shares(const struct command *command)
{
	return command->cgroup < 0 && command->holder->may_share;
}

pid_t command_start(struct command *command, void *stack_end)
{
	pid_t pid;

	command->in_namespace = command->cgroup < 0;
	if (command_shares(command))
		return clone(begin, stack_end, CLONE_VM | CLONE_NEWCGROUP | SIGCHLD, command);
	if (command->cgroup >= 0)
		pid = start_in_cgroup(command);
	else
		pid = sys_clone(CLONE_NEWCGROUP | SIGCHLD, NULL);
	if (pid == 0) {
		sys_word = 0;
		command_exec(command);
	}
	return pid;
}

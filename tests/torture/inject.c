// SPDX-License-Identifier: MIT
#include "inject.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

#define ERRNOS 4
#define NUMBER_MAX 64 /* an unpacker does some things for each file */
#define PIDS_MAX 256
#define END_S 20 /* after the host's end, until all are gone */

/*
 * What may fail, and how. Left out is what cannot (close(2) does what it shall, whatever it returns), and what
 * libc cannot do without, such as futex(2).
 */
static const struct {
	int number;
	const char *name;
	bool refused; /* filters of containers are known to refuse it, always */
	int errnos[ERRNOS];
} calls[] = {
#define CALL(name, refused, ...)            \
	{                                   \
		SYS_##name, #name, refused, \
		{                           \
			__VA_ARGS__         \
		}                           \
	}
	CALL(memfd_create, true, ENOMEM, EMFILE, EACCES),
	CALL(write, false, ENOSPC, EINTR, EIO),
	CALL(read, false, EINTR, EIO),
	CALL(fchmod, false, EPERM),
	CALL(fchown, false, EPERM),
	CALL(fcntl, false, EMFILE, EPERM),
	CALL(ftruncate, false, ENOSPC),
	CALL(socketpair, false, EMFILE, ENFILE, ENOMEM),
	CALL(socket, false, EMFILE, EAFNOSUPPORT),
	CALL(sendmsg, false, EINTR, EAGAIN, ENOBUFS, ETOOMANYREFS),
	CALL(recvmsg, false, EINTR, ENOMEM),
	CALL(clone, false, EAGAIN, ENOMEM, EPERM, ENOSPC),
	CALL(clone3, true, EAGAIN, ENOMEM, EPERM, ENOSPC),
	CALL(execve, false, ENOMEM, EAGAIN, EACCES),
	CALL(execveat, true, ENOMEM, EAGAIN, EACCES),
	CALL(ppoll, false, EINTR, ENOMEM),
	CALL(pidfd_open, true, EMFILE, ENOMEM),
	CALL(pidfd_send_signal, true, EPERM),
	CALL(waitid, false, EINTR),
	CALL(openat, false, EMFILE, ENFILE, ENOMEM, EINTR),
	CALL(openat2, true, EMFILE, ENOMEM, EAGAIN),
	CALL(readlinkat, false, ENOMEM, EACCES),
	CALL(newfstatat, false, ENOMEM, EACCES),
	CALL(fstat, false, ENOMEM),
	CALL(statx, false, ENOMEM),
	CALL(getdents64, false, ENOMEM),
#ifndef __SANITIZE_ADDRESS__ /* which gives up */
	CALL(mmap, false, ENOMEM),
#endif
	CALL(madvise, true, EINVAL),
	CALL(setresuid, false, EPERM, EAGAIN),
	CALL(setresgid, false, EPERM),
	CALL(setgroups, false, EPERM),
	CALL(prctl, false, EPERM),
	CALL(seccomp, true, ENOMEM, EACCES),
	CALL(capset, false, EPERM),
	CALL(prlimit64, false, EPERM),
	CALL(mount, true, EPERM, ENOMEM, ENODEV),
	CALL(umount2, true, EPERM, EBUSY),
	CALL(pivot_root, true, EPERM, EINVAL),
	CALL(open_tree, true, EPERM, ENOMEM, EMFILE),
	CALL(move_mount, true, EPERM, ENOMEM),
	CALL(mount_setattr, true, EPERM, ENOMEM),
	CALL(unshare, true, EPERM, ENOSPC),
	CALL(setns, true, EPERM, ENOMEM),
	CALL(sethostname, true, EPERM),
	CALL(mkdirat, false, ENOSPC, ENOMEM),
	CALL(symlinkat, false, ENOSPC),
	CALL(ioctl, false, EPERM),
	CALL(signalfd4, true, EMFILE, ENOMEM),
	CALL(pipe2, false, EMFILE, ENFILE),
	CALL(dup3, false, EBADF),
	CALL(chdir, false, EACCES, ENOMEM),
	CALL(close_range, true, EPERM, ENOSYS),
#ifdef SYS_open /* the older names, where there are */
	CALL(open, false, EMFILE, ENFILE, ENOMEM, EINTR),
	CALL(stat, false, ENOMEM, EACCES),
	CALL(lstat, false, ENOMEM),
	CALL(poll, false, EINTR, ENOMEM),
	CALL(readlink, false, ENOMEM, EACCES),
	CALL(mkdir, false, ENOSPC, ENOMEM),
	CALL(symlink, false, ENOSPC),
	CALL(dup2, false, EBADF),
	CALL(fork, false, EAGAIN, ENOMEM),
#endif
};

#define CALLS (sizeof(calls) / sizeof(calls[0]))

static const char *const role_names[] = { "host",     "launcher", "keeper",  "undertaker",
					  "unpacker", "holder",	  "command", "all" };

/* One life under way. */
struct session {
	struct life *life;
	const struct inject_case *one;
	bool hit, unpacks, had_unpacker;
	int listener;
	pid_t host;
	struct {
		pid_t pid;
		int role; /* INJECT_ROLES: of no interest any more */
	} pids[PIDS_MAX];
	size_t pids_count;
	unsigned int seen[INJECT_ROLES][CALLS];
};

static int find_call(int number)
{
	for (size_t i = 0; i < CALLS; i++)
		if (calls[i].number == number)
			return (int)i;
	return -1;
}

static void (*inner_lead)(struct life *life);
static int only_call; /* of which the kernel asks, since a question is dear; -1: all */

/* By these the unpacker and commands are told. */
static bool is_always_asked(int call)
{
	return calls[call].number == SYS_execve || calls[call].number == SYS_execveat;
}

static int install_filter(void)
{
	struct sock_filter filter[CALLS + 3];
	struct sock_fprog program = { .filter = filter };
	unsigned short n = 0, ask;

	filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (int i = 0; i < (int)CALLS; i++)
		if (only_call < 0 || i == only_call || is_always_asked(i))
			filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i].number,
								   0, 0);
	filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	ask = n;
	filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
	for (unsigned short i = 1; i < ask - 1; i++)
		filter[i].jt = (uint8_t)(ask - i - 1);
	program.len = n;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

/* In the child. It asks about nothing until the listener is in other hands. */
static void lead_watched(struct life *life)
{
	int listener = install_filter();

	if (listener < 0)
		life_end(life, "seccomp: %s", strerror(errno));
	__atomic_store_n(&life->listener, listener, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&life->taken, __ATOMIC_SEQ_CST))
		sched_yield();
	close(listener);
	inner_lead(life);
}

static int take_listener(struct life *life, pid_t pid)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), number = -1, listener = -1;
	struct pollfd dead = { .fd = pidfd, .events = POLLIN };

	while (pidfd >= 0 && number < 0 && poll(&dead, 1, 0) == 0)
		number = __atomic_load_n(&life->listener, __ATOMIC_SEQ_CST);
	if (number >= 0)
		listener = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
	if (pidfd >= 0)
		close(pidfd);
	__atomic_store_n(&life->taken, true, __ATOMIC_SEQ_CST);
	return listener;
}

/* What /proc tells about a thread: its process, and in which PID namespace below ours that has which number. */
static bool look_at(pid_t tid, pid_t *ret_pid, int *ret_depth, pid_t *ret_inner)
{
	char path[32], line[256], *at;
	FILE *file;
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	file = fopen(path, "re");
	while (file && !found && fgets(line, sizeof(line), file)) {
		sscanf(line, "Tgid: %d", ret_pid);
		found = strncmp(line, "NSpid:", 6) == 0;
	}
	if (file)
		fclose(file);
	*ret_depth = -1;
	for (at = line + 6; found && *at && *at != '\n'; ++*ret_depth)
		*ret_inner = (pid_t)strtol(at, &at, 10);
	return found;
}

static int guess_role(struct session *session, int depth, pid_t inner)
{
	if (depth == 0)
		return INJECT_LAUNCHER;
	if (depth == 1)
		return inner == 1 ? INJECT_KEEPER : INJECT_UNDERTAKER;
	if (inner != 1)
		return INJECT_COMMAND;
	/* the keeper's first child with namespaces of its own */
	if (session->unpacks && !session->had_unpacker) {
		session->had_unpacker = true;
		return INJECT_UNPACKER;
	}
	return INJECT_HOLDER;
}

/* Its role, to be changed by who asks; NULL if it is of no interest. */
static int *role_of(struct session *session, pid_t tid)
{
	static int host = INJECT_HOST;
	pid_t pid = tid, inner = 0;
	int depth;

	if (tid == session->host)
		return &host;
	for (size_t i = 0; i < session->pids_count; i++)
		if (session->pids[i].pid == tid)
			return &session->pids[i].role;
	if (session->pids_count == PIDS_MAX || !look_at(tid, &pid, &depth, &inner))
		return NULL;
	if (pid != tid)
		return role_of(session, pid);
	session->pids[session->pids_count].pid = pid;
	session->pids[session->pids_count].role = guess_role(session, depth, inner);
	return &session->pids[session->pids_count++].role;
}

static bool is_meant(const struct session *session, int role, int call)
{
	const struct inject_case *one = session->one;

	if (!one || call != one->call)
		return false;
	return one->number == 0 || (role == one->role && session->seen[role][call] == one->number);
}

/* What becomes of a call: 0 or an errno. */
static int decide(struct session *session, const struct seccomp_notif *question)
{
	int *role = role_of(session, (pid_t)question->pid);
	int call = find_call(question->data.nr), now;

	if (!role || *role == INJECT_ROLES)
		return 0;
	now = *role;
	if (now == INJECT_COMMAND && question->data.nr == SYS_execve)
		*role = INJECT_ROLES; /* or it fails, and only tells so */
	if (!__atomic_load_n(&session->life->armed, __ATOMIC_SEQ_CST))
		return 0;
	session->seen[now][call]++;
	if (!is_meant(session, now, call))
		return 0;
	session->hit = true;
	return session->one->errnum;
}

static void answer(struct session *session)
{
	struct seccomp_notif_resp response = { 0 };
	struct seccomp_notif question = { 0 };
	int errnum;

	if (ioctl(session->listener, SECCOMP_IOCTL_NOTIF_RECV, &question) < 0)
		return; /* it has died, or its call was interrupted */
	errnum = decide(session, &question);
	response.id = question.id;
	if (errnum == INJECT_DEATH)
		kill((pid_t)question.pid, SIGKILL);
	else if (errnum)
		response.error = -errnum;
	else
		response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	(void)!ioctl(session->listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

/* Until the host has ended and with it everything that the filter is for. */
static const char *attend(struct session *session)
{
	struct pollfd asked = { .fd = session->listener, .events = POLLIN };
	uint64_t deadline = now_ns() + LIFE_HANGS_S * SECOND;
	const char *wrong = NULL;
	bool ended = false;

	for (;;) {
		int status, n = poll(&asked, 1, 1);

		if (n > 0 && asked.revents & POLLIN) {
			answer(session);
		} else if (!ended && waitpid(session->host, &status, WNOHANG) == session->host) {
			ended = true;
			deadline = now_ns() + END_S * SECOND;
			wrong = wrong ? wrong : life_judge(session->life, status);
		} else if (ended && n > 0) {
			return wrong;
		}
		if (now_ns() < deadline)
			continue;
		if (ended)
			return wrong ? wrong : "processes are left";
		wrong = life_hangs(session->life, session->host);
		deadline += END_S * SECOND;
	}
}

static const char *lead(struct life *life, struct session *session)
{
	const char *wrong;

	only_call = session->one ? session->one->call : -1;
	session->life = life;
	session->unpacks = !life->scene.is_directory;
	life->listener = -1;
	life->taken = false;
	life->may_kill = session->one && session->one->errnum == INJECT_DEATH && session->one->role == INJECT_COMMAND;
	session->host = life_start(life, lead_watched);
	session->listener = take_listener(life, session->host);
	if (session->listener < 0)
		return life_wait(life, session->host);
	wrong = attend(session);
	close(session->listener);
	return wrong;
}

const char *inject_lead(struct life *life, const struct inject_case *one, bool *ret_hit)
{
	struct session session = { .one = one };
	const char *wrong = lead(life, &session);

	*ret_hit = session.hit;
	return wrong;
}

const char *inject_case_name(const struct inject_case *one)
{
	static char name[96];

	snprintf(name, sizeof(name), "%s/%s/%u/%s", role_names[one->role], calls[one->call].name, one->number,
		 one->errnum == INJECT_DEATH ? "KILL" : strerrorname_np(one->errnum));
	return name;
}

struct cases {
	struct inject_case *all;
	size_t count;
};

static void add(struct cases *cases, int role, int call, unsigned int number, int errnum)
{
	cases->all = realloc(cases->all, (cases->count + 1) * sizeof(*cases->all));
	cases->all[cases->count++] =
		(struct inject_case){ .role = role, .number = number, .call = call, .errnum = errnum };
}

static void add_call(struct cases *cases, int role, int call, unsigned int seen)
{
	for (unsigned int number = 1; number <= seen && number <= NUMBER_MAX; number++) {
		for (int i = 0; i < ERRNOS && calls[call].errnos[i]; i++)
			add(cases, role, call, number, calls[call].errnos[i]);
		if (role != INJECT_HOST)
			add(cases, role, call, number, INJECT_DEATH);
	}
}

struct inject_case *inject_cases(struct life *life, size_t *ret_count)
{
	struct session session = { 0 };
	const char *wrong = lead(life, &session);
	struct cases cases = { 0 };

	ck_assert_msg(!wrong, "%s, watched: %s", life->scene.name, wrong);
	for (int call = 0; call < (int)CALLS; call++) {
		for (int role = 0; role < INJECT_ROLES; role++)
			add_call(&cases, role, call, session.seen[role][call]);
		if (!calls[call].refused)
			continue;
		add(&cases, INJECT_ALL, call, 0, EPERM);
		add(&cases, INJECT_ALL, call, 0, ENOSYS);
	}
	*ret_count = cases.count;
	return cases.all;
}

static void do_nothing(struct life *life)
{
	(void)life;
}

const char *inject_unavailable(struct life *life)
{
	const char *wrong;
	bool hit;

	inner_lead = do_nothing;
	wrong = inject_lead(life, NULL, &hit);
	inner_lead = life_lead_both;
	return wrong;
}

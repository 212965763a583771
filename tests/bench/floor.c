// SPDX-License-Identifier: MIT
/*
 * The floor of a guest's start: the bare sequence of system calls, as a C program would make them that has no server,
 * no library and nothing to check. A program of its own, linked statically, so that what is cloned is as small as can
 * be, and a process is cloned from it with nothing between.
 *
 *     floor ROOTFS
 *
 * Once: a child in user, mount and PID namespaces of its own makes a tmpfs with a bind of ROOTFS, a /proc and a small
 * /dev in it, pivots there and detaches the host's tree, so that a clone copies a table of some ten mounts.
 *
 * Then for each byte on stdin two numbers of 8 bytes on stdout, in ns:
 *
 *     'r'  from clone(2), with user, mount, PID, UTS and IPC namespaces, to "ready" from the child, which has
 *          mounted what a guest has: a tmpfs with an overlay's layer, the overlay over ROOTFS, /dev, /dev/pts,
 *          /dev/shm, /tmp, /proc, /proc/sys read-only, what of /proc is hidden; set its host name, pivoted, and
 *          detached what was there before. The second number: from SIGKILL to the end of waitpid(2).
 *     'c'  the whole life, 0: the child, when it is ready, runs /bench/true by vfork(2) and exits; until waitpid(2).
 *     'd'  the same, 0, with a guest's own system call filter, and its capabilities dropped.
 *     't'  such a life in three calls, 0: the child tells when it is ready, is confined then, runs /bench/true when it
 *          is asked to ('s'), tells its status, and is killed.
 *     'R', 'C', 'D', 'T'  the same with a network namespace and its lo up.
 *     'M'  1,000 of 'R' that live at once, one made after the other, and killed so; 'm': 200.
 *     'k', 'K'  one more of 'r' or 'R', 0: it lives on, until 'e', 0, has killed all of these.
 *     's'  a command: a request with three fds to such a child, which lives on and runs /bench/true by vfork(2), until
 *          its status is here, 0.
 *
 * With the highest bit set: again and again, for a quarter of a second; how many, and the ns.
 *
 * What a guest has and this leaves out: a program of any size and with any number of threads that asks for it, a
 * range of ids (it maps one), a cap on nested namespaces, limits and control groups, files in /etc, captured output,
 * commands that cannot stop who waits for them (vfork), the end of what a command leaves behind, and errors that are
 * told; and but for 'd', 'D', 't' and 'T' a system call filter and dropped capabilities.
 */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STDIO 3
#define CROWD 1000
#define KEPT_CAPABILITIES 0x5fb /* guest_config.capabilities, by default */
#define REPEAT 0x80
#define REPEAT_NS 250000000U

static void check(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	_exit(1);
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000U + (uint64_t)time.tv_nsec;
}

static void mount_at(const char *source, const char *target, const char *type, unsigned long flags, const char *data)
{
	check(mount(source, target, type, flags, data) == 0, target);
}

static void write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	check(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), path);
	close(fd);
}

/* The old root comes to lie on top of the new one, and is detached. */
static void pivot(const char *root)
{
	check(chdir(root) == 0 && syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 &&
		      chdir("/") == 0,
	      "pivot_root");
}

/* One id of the parent's namespace as 0, by the parent. */
static void map_ids(pid_t pid)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/setgroups", pid);
	write_to(path, "deny");
	snprintf(path, sizeof(path), "/proc/%d/uid_map", pid);
	write_to(path, "0 0 1");
	snprintf(path, sizeof(path), "/proc/%d/gid_map", pid);
	write_to(path, "0 0 1");
}

/* What a guest's holder hides (keeper.c), if others than the host's root can open it. */
static const char *const hidden[] = {
	"kcore",       "keys",		"key-users",	 "kallsyms", "timer_list",
	"sched_debug", "latency_stats", "sysrq-trigger", "kmsg",     "kpagecount",
	"kpageflags",  "vmallocinfo",	"acpi",		 "scsi",     "asound",
};
#define HIDDEN (sizeof(hidden) / sizeof(hidden[0]))

static struct {
	char target[48];
	const char *cover;
} covers[HIDDEN];

static size_t covers_count;

static void find_hidden(void)
{
	char path[32];
	struct stat st;

	for (size_t i = 0; i < HIDDEN; i++) {
		snprintf(path, sizeof(path), "/proc/%s", hidden[i]);
		if (stat(path, &st) < 0 || !(st.st_mode & (S_IROTH | S_IWOTH)))
			continue;
		covers[covers_count].cover = S_ISDIR(st.st_mode) ? "/empty" : "/dev/null";
		snprintf(covers[covers_count++].target, sizeof(covers[0].target), "/guest/root%s", path);
	}
}

static void make_layer(void)
{
	mount_at("guest", "/guest", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=1073741824,nr_inodes=1048576");
	umask(0);
	check(mkdir("/guest/root", 0755) == 0 && mkdir("/guest/work", 0755) == 0 && mkdir("/guest/upper", 0755) == 0 &&
		      mkdir("/guest/shm", 01777) == 0 && mkdir("/guest/tmp", 01777) == 0,
	      "mkdir");
	umask(022);
	mount_at("overlay", "/guest/root", "overlay", MS_NOSUID | MS_NODEV,
		 "lowerdir=/template,upperdir=/guest/upper,workdir=/guest/work,userxattr");
}

static void make_mounts(void)
{
	const unsigned long safe = MS_NOSUID | MS_NODEV | MS_NOEXEC;

	make_layer();
	mount_at("/dev", "/guest/root/dev", NULL, MS_BIND | MS_REC, NULL);
	mount_at("devpts", "/guest/root/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
		 "newinstance,ptmxmode=0666,mode=0620,max=256");
	mount_at("/guest/shm", "/guest/root/dev/shm", NULL, MS_BIND, NULL);
	mount_at("/guest/tmp", "/guest/root/tmp", NULL, MS_BIND, NULL);
	mount_at("proc", "/guest/root/proc", "proc", safe, NULL);
	mount_at("/guest/root/proc/sys", "/guest/root/proc/sys", NULL, MS_BIND, NULL);
	mount_at(NULL, "/guest/root/proc/sys", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | safe, NULL);
	for (size_t i = 0; i < covers_count; i++)
		mount_at(covers[i].cover, covers[i].target, NULL, MS_BIND, NULL);
	pivot("/guest/root");
}

static void bring_up_lo(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	check(fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0, "lo");
	close(fd);
}

/* `stdio`: three fds; NULL: our own. */
static int run_true(const int *stdio)
{
	pid_t pid = vfork();
	int status = -1;

	if (pid == 0) {
		for (int i = 0; stdio && i < STDIO; i++)
			dup2(stdio[i], i);
		execl("/bench/true", "true", NULL);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	return status == 0 ? 0 : 1;
}

/* What a guest has (confine.c). */
static const struct sock_filter filter[] = {
#include "filter_default.inc"
};

static void confine(void)
{
	const struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), (struct sock_filter *)filter };

	for (int capability = 0; capability < 64; capability++)
		if (!(KEPT_CAPABILITIES >> capability & 1) && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0)
			break; /* beyond the last */
	check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
		      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0,
	      "seccomp");
}

/* PID 1 of the new namespaces. `go` tells that its ids are mapped. */
static void enter(int go, int network)
{
	char byte;

	check(read(go, &byte, 1) == 1, "go");
	make_mounts();
	check(sethostname("guest", 5) == 0, "sethostname");
	if (network)
		bring_up_lo();
}

static pid_t clone_child(int network, const int *go)
{
	unsigned long flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | SIGCHLD;
	pid_t pid;

	pid = (pid_t)syscall(SYS_clone, flags | (network ? CLONE_NEWNET : 0), NULL, NULL, NULL, NULL);
	check(pid >= 0, "clone");
	if (pid == 0) {
		enter(go[0], network);
		return 0;
	}
	map_ids(pid);
	check(write(go[1], "", 1) == 1, "go");
	return pid;
}

static pid_t start_ready(int network)
{
	int go[2], ready[2];
	pid_t pid;
	char byte;

	check(pipe2(go, O_CLOEXEC) == 0 && pipe2(ready, O_CLOEXEC) == 0, "pipe2");
	pid = clone_child(network, go);
	if (pid == 0) {
		check(write(ready[1], "", 1) == 1, "ready");
		for (;;)
			pause();
	}
	check(read(ready[0], &byte, 1) == 1, "ready");
	close(go[0]), close(go[1]), close(ready[0]), close(ready[1]);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	check(waitpid(pid, NULL, 0) == pid, "child");
}

/* Of so many, all of which are there before the first ends. */
static void measure_ready(int network, int count, uint64_t *times)
{
	static pid_t pids[CROWD];
	uint64_t start = now();

	for (int i = 0; i < count; i++)
		pids[i] = start_ready(network);
	times[0] = now() - start;
	start = now();
	for (int i = 0; i < count; i++)
		end(pids[i]);
	times[1] = now() - start;
}

static pid_t kept[CROWD];
static int kept_count;

static void keep(int network)
{
	check(kept_count < CROWD, "too many");
	kept[kept_count++] = start_ready(network);
}

static void end_kept(void)
{
	while (kept_count > 0)
		end(kept[--kept_count]);
}

static void measure_life(int network, int confined, uint64_t *times)
{
	uint64_t start = now();
	int go[2], status;
	pid_t pid;

	check(pipe2(go, O_CLOEXEC) == 0, "pipe2");
	pid = clone_child(network, go);
	if (pid == 0) {
		if (confined)
			confine();
		_exit(run_true(NULL));
	}
	check(waitpid(pid, &status, 0) == pid && status == 0, "child");
	times[0] = now() - start;
	close(go[0]), close(go[1]);
}

union packet {
	char bytes[CMSG_SPACE(STDIO * sizeof(int))];
	struct cmsghdr cmsg;
};

/* A child that runs what is asked for, and tells how that has ended. */
__attribute__((noreturn)) static void serve_commands(int socket)
{
	for (;;) {
		char byte;
		struct iovec iov = { &byte, 1 };
		union packet control;
		struct msghdr message = {
			.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
		};
		int fds[STDIO], status;

		if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1)
			_exit(0);
		memcpy(fds, CMSG_DATA(&control.cmsg), sizeof(fds));
		status = run_true(fds);
		for (int i = 0; i < STDIO; i++)
			close(fds[i]);
		check(write(socket, &status, sizeof(status)) == sizeof(status), "status");
	}
}

/* Ready when this returns. */
static pid_t start_server(int network, int confined, int *ret_socket)
{
	int go[2], sockets[2];
	pid_t pid;
	char byte;

	check(pipe2(go, O_CLOEXEC) == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0,
	      "server");
	pid = clone_child(network, go);
	if (pid == 0) {
		close(sockets[0]);
		check(write(sockets[1], "", 1) == 1, "ready");
		if (confined)
			confine();
		serve_commands(sockets[1]);
	}
	close(sockets[1]), close(go[0]), close(go[1]);
	check(read(sockets[0], &byte, 1) == 1, "ready");
	*ret_socket = sockets[0];
	return pid;
}

static void request_true(int server)
{
	static int null[STDIO]; /* 0: not yet, as that is our stdin */
	struct iovec iov = { "", 1 };
	union packet control = {
		.cmsg = { .cmsg_len = CMSG_LEN(sizeof(null)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS }
	};
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	int status;

	for (int i = 0; null[STDIO - 1] == 0 && i < STDIO; i++)
		null[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
	memcpy(CMSG_DATA(&control.cmsg), null, sizeof(null));
	check(sendmsg(server, &message, MSG_NOSIGNAL) == 1, "request");
	check(read(server, &status, sizeof(status)) == sizeof(status) && status == 0, "command");
}

static void measure_command(uint64_t *times)
{
	static int server = -1;
	uint64_t start;

	if (server < 0)
		start_server(0, 0, &server);
	start = now();
	request_true(server);
	times[0] = now() - start;
}

static void measure_calls(int network, uint64_t *times)
{
	uint64_t start = now();
	int server;
	pid_t pid = start_server(network, 1, &server);

	request_true(server);
	end(pid);
	close(server);
	times[0] = now() - start;
}

static void measure(char question, uint64_t *numbers)
{
	numbers[0] = numbers[1] = 0;
	if (question == 'k' || question == 'K')
		keep(question == 'K');
	else if (question == 'e')
		end_kept();
	else if (question == 's')
		measure_command(numbers);
	else if (question == 'r' || question == 'R')
		measure_ready(question == 'R', 1, numbers);
	else if (question == 'm' || question == 'M')
		measure_ready(1, question == 'M' ? CROWD : CROWD / 5, numbers);
	else if (question == 't' || question == 'T')
		measure_calls(question == 'T', numbers);
	else
		measure_life(question == 'C' || question == 'D', question == 'd' || question == 'D', numbers);
}

static void measure_often(char question, uint64_t *numbers)
{
	uint64_t start = now(), count = 0, scratch[2];

	for (; now() - start < REPEAT_NS; count++)
		measure(question, scratch);
	numbers[0] = count;
	numbers[1] = now() - start;
}

/* Nodes bound from the host's, as whoever is not root has to have them. */
static void make_devices(void)
{
	static const char *const nodes[] = { "null", "zero", "full", "random", "urandom", "tty" };
	char node[24], source[32];

	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
		snprintf(node, sizeof(node), "dev/%s", nodes[i]);
		snprintf(source, sizeof(source), "/dev/%s", nodes[i]);
		close(open(node, O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
		mount_at(source, node, NULL, MS_BIND, NULL);
	}
	check(mkdir("dev/pts", 0755) == 0 && mkdir("dev/shm", 01777) == 0, "mkdir");
	check(symlink("pts/ptmx", "dev/ptmx") == 0, "symlink");
}

/* The small mount table of which each child gets a copy. We are PID 1 here. */
static void make_tree(const char *rootfs)
{
	static const char *const places[] = { "template", "guest", "proc", "dev", "empty" };
	int fd = open(rootfs, O_PATH | O_CLOEXEC); /* it may be below what is covered now */
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	mount_at(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL);
	mount_at("floor", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=1m");
	check(chdir("/dev/shm") == 0, "chdir");
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		check(mkdir(places[i], 0755) == 0, places[i]);
	mount_at(path, "template", NULL, MS_BIND, NULL);
	close(fd);
	make_devices();
	mount_at("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	pivot(".");
}

static void serve(const char *rootfs)
{
	unsigned char question;

	make_tree(rootfs);
	find_hidden();
	while (read(0, &question, 1) == 1) {
		uint64_t numbers[2];

		if (question & REPEAT)
			measure_often((char)(question & ~REPEAT), numbers);
		else
			measure((char)question, numbers);
		check(write(1, numbers, sizeof(numbers)) == (ssize_t)sizeof(numbers), "write");
	}
}

int main(int argc, char **argv)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char map[32];
	pid_t pid;

	check(argc == 2, "floor ROOTFS");
	check(unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID) == 0, "unshare");
	write_to("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "0 %u 1", uid);
	write_to("/proc/self/uid_map", map);
	snprintf(map, sizeof(map), "0 %u 1", gid);
	write_to("/proc/self/gid_map", map);
	pid = fork();
	check(pid >= 0, "fork");
	if (pid == 0) {
		serve(argv[1]);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	return 0;
}

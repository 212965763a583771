// SPDX-License-Identifier: MIT
/* A static program for guests whose rootfs may be empty: `tool VERB [ARGUMENT...]`. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A process that nothing but a SIGKILL ends, in a session of its own. */
static void be_stubborn(void)
{
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_IGN);
	setsid();
	for (;;)
		pause();
}

static void leave_orphans(int count)
{
	for (int i = 0; i < count; i++) {
		pid_t pid = fork();

		if (pid == 0 && fork() == 0)
			be_stubborn();
		if (pid == 0)
			_exit(0);
	}
}

/* CLOCK_MONOTONIC in ns. */
static int tell_time(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	printf("%lld\n", time.tv_sec * 1000000000LL + time.tv_nsec);
	return 0;
}

/* Processes that fork and exit, for ever. */
static void storm(void)
{
	for (int i = 0; i < 4; i++) {
		if (fork() > 0)
			continue;
		signal(SIGCHLD, SIG_IGN);
		setsid();
		for (;;)
			if (fork() > 0)
				_exit(0);
	}
}

/* Touch so many MiB, in `count` processes that share them out, and hold them all until the last has them. */
static int hold_memory(size_t megabytes, int count)
{
	size_t size = (megabytes << 20) / (size_t)count;
	int ready[2], go[2];
	char byte;

	if (pipe(ready) < 0 || pipe(go) < 0)
		return 1;
	for (int i = 0; i < count; i++) {
		char *memory;

		if (fork() > 0)
			continue;
		memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (memory == MAP_FAILED)
			_exit(1);
		for (size_t at = 0; at < size; at += 4096)
			memory[at] = 1;
		close(go[1]);
		if (write(ready[1], "", 1) == 1)
			(void)!read(go[0], &byte, 1);
		_exit(0);
	}
	close(ready[1]);
	while (count > 0 && read(ready[0], &byte, 1) == 1)
		count--;
	usleep(200000); /* for who looks every few milliseconds */
	return count > 0;
}

static void *hold_in_thread(void *size)
{
	char *memory = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		exit(1);
	memset(memory, 1, (size_t)size);
	for (;;)
		pause();
	return NULL;
}

static void *fork_and_hold_in_thread(void *size)
{
	pthread_t thread;

	if (fork() == 0 && pthread_create(&thread, NULL, hold_in_thread, size) == 0)
		pthread_exit(NULL);
	for (;;)
		pause();
	return NULL;
}

/* So many MiB in as many pieces, where no process that is looked at shows them. */
static void hoard(const char *where, size_t megabytes)
{
	const size_t size = 1 << 20;
	char *piece = calloc(1, size); /* no part of the program: others have to start with little */
	pthread_t thread;

	if (!piece)
		exit(1);
	memset(piece, 1, size);
	if (strcmp(where, "thread") == 0) { /* of a process whose first thread is dead */
		if (pthread_create(&thread, NULL, hold_in_thread, (void *)(megabytes << 20)) == 0)
			pthread_exit(NULL);
		exit(1);
	}
	if (strcmp(where, "generations") == 0) { /* of such processes */
		if (pthread_create(&thread, NULL, fork_and_hold_in_thread, (void *)(megabytes << 20)) == 0)
			pthread_exit(NULL);
		exit(1);
	}
	if (strcmp(where, "groups") == 0) { /* whose list comes before the memory in what procfs tells */
		static gid_t groups[2000];

		for (gid_t i = 0; i < 2000; i++)
			groups[i] = 10000 + i;
		(void)setgroups(2000, groups);
		hold_in_thread((void *)(megabytes << 20));
	}
	for (size_t i = 0; i < megabytes; i++) {
		if (strcmp(where, "memfds") == 0 && write(memfd_create("x", 0), piece, size) < 0)
			exit(1);
		if (strcmp(where, "segments") == 0) {
			char *place = shmat(shmget(IPC_PRIVATE, size, 0600), NULL, 0);

			memcpy(place, piece, size);
			shmdt(place);
		}
	}
}

/* Have so many children at once; say how many could be made. */
static int have_children(int count, useconds_t pause_us)
{
	int made = 0, go[2];
	char byte;

	if (pipe(go) < 0)
		return 1;
	for (; made < count; made++) {
		pid_t pid = fork();

		if (pid < 0)
			break;
		if (pid == 0) {
			close(go[1]);
			(void)!read(go[0], &byte, 1);
			_exit(0);
		}
	}
	printf("%d\n", made);
	fflush(stdout);
	usleep(pause_us);
	if (pause_us == 0)
		_exit(made < count);
	close(go[1]);
	while (wait(NULL) > 0)
		;
	return made < count;
}

/* Use so much CPU time, in milliseconds, in each of `count` processes. */
static int spin(long milliseconds, int count)
{
	struct timespec used;

	for (int i = 1; i < count; i++)
		if (fork() == 0)
			break;
	do
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	while (used.tv_sec * 1000 + used.tv_nsec / 1000000 < milliseconds);
	while (wait(NULL) > 0)
		;
	return 0;
}

static int list_fds(void)
{
	for (int fd = 0; fd < 65536; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			printf("%d ", fd);
	printf("\n");
	return 0;
}

static int copy(const char *path)
{
	FILE *file = path ? fopen(path, "r") : stdin;
	int c;

	if (!file)
		return printf("%s: %s\n", path, strerror(errno)) < 0;
	while ((c = getc(file)) != EOF)
		putchar(c);
	return 0;
}

/* Fork and wait, with so many MiB, which makes a fork take long, until there is a line to copy. */
static int fork_often(size_t megabytes)
{
	struct pollfd input = { .fd = 0, .events = POLLIN };
	char *memory = mmap(NULL, megabytes << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return 1;
	madvise(memory, megabytes << 20, MADV_NOHUGEPAGE); /* of which a fork would be quick */
	memset(memory, 1, megabytes << 20);
	while (poll(&input, 1, 0) == 0) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		if (pid < 0 || waitpid(pid, NULL, 0) != pid)
			return 1;
	}
	return copy(NULL);
}

static int write_to(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	if (!file || fputs(text, file) < 0 || fclose(file) != 0)
		return printf("%s: %s\n", path, strerror(errno)) < 0;
	return 0;
}

static int show(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return printf("%s\n", strerror(errno)) < 0;
	return printf("%o %u:%u\n", st.st_mode, st.st_uid, st.st_gid) < 0;
}

static int echo(char **arguments)
{
	while (*arguments) {
		printf("%s", *arguments++);
		putchar(*arguments ? ' ' : '\n');
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (strcmp(verb, "as") == 0) { /* NAME ...: under this name */
		prctl(PR_SET_NAME, argv[2]);
		argv += 2;
		argc -= 2;
		verb = argv[1];
	}
	if (strcmp(verb, "echo") == 0)
		return echo(argv + 2);
	if (strcmp(verb, "fds") == 0)
		return list_fds();
	if (strcmp(verb, "cat") == 0)
		return copy(argv[2]);
	if (strcmp(verb, "stat") == 0)
		return show(argv[2]);
	if (strcmp(verb, "write") == 0)
		return write_to(argv[2], argv[3]);
	if (strcmp(verb, "memory") == 0)
		return hold_memory((size_t)atoi(argv[2]), argc > 3 ? atoi(argv[3]) : 1);
	if (strcmp(verb, "children") == 0)
		return have_children(atoi(argv[2]), 200000); /* who looks now and then shall see them */
	if (strcmp(verb, "brief-children") == 0)
		return have_children(atoi(argv[2]), 0);
	if (strcmp(verb, "spin") == 0)
		return spin(atol(argv[2]), argc > 3 ? atoi(argv[3]) : 1);
	if (strcmp(verb, "fork-often") == 0)
		return fork_often((size_t)atoi(argv[2]));
	if (strcmp(verb, "kill") == 0)
		return kill(-1, SIGKILL);
	if (strcmp(verb, "orphans") == 0)
		leave_orphans(atoi(argv[2]));
	else if (strcmp(verb, "storm") == 0)
		storm();
	else if (strcmp(verb, "hoard") == 0)
		hoard(argv[2], (size_t)atoi(argv[3]));
	else if (strcmp(verb, "stubborn") == 0)
		be_stubborn();
	else if (strcmp(verb, "environ") == 0)
		return echo(environ);
	else
		return 2;
	/* `tool orphans N exit` leaves them, `... exit-time` tells when, `tool orphans N` stays with them */
	if (argv[argc - 1] && strcmp(argv[argc - 1], "exit-time") == 0)
		return tell_time();
	if (argv[argc - 1] && strcmp(argv[argc - 1], "exit") == 0)
		return 0;
	for (;;)
		pause();
}

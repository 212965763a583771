// SPDX-License-Identifier: MIT
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

extern char **environ;

const char *const true_in_guest[] = { "/bench/true", NULL };

void die(const char *what, const struct guest_error *err)
{
	fprintf(stderr, "bench: %s: %s\n", what, err ? err->message : "failed");
	exit(1);
}

uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

double ms_since(uint64_t start)
{
	return (double)(now_ns() - start) / 1e6;
}

const char *path_of(const char *directory, const char *name)
{
	char *path;

	if (asprintf(&path, "%s/%s", directory, name) < 0)
		die("memory", NULL);
	return path;
}

struct guest *guest_make_of(const char *archive, uint32_t network)
{
	struct guest_error err = { .size = sizeof(err) };
	struct guest_config config;
	struct guest *guest;

	guest_config_init(&config, sizeof(config));
	config.rootfs_path = archive;
	config.network = network;
	if (guest_init(&guest, &config, &err) < 0)
		die("guest_init", &err);
	return guest;
}

struct guest *guest_make(uint32_t network)
{
	return guest_make_of(bench.archive, network);
}

void guest_end(struct guest *guest)
{
	struct guest_error err = { .size = sizeof(err) };

	if (guest_shutdown(guest, &err) < 0)
		die("guest_shutdown", &err);
}

void guest_do_command(struct guest *guest, const struct guest_command *command)
{
	struct guest_result result = { .size = sizeof(result) };
	struct guest_error err = { .size = sizeof(err) };

	if (guest_run(guest, command, &result, &err) < 0)
		die("guest_run", &err);
	if (result.cause != GUEST_EXITED || result.exit_code != 0)
		die(command->argv[0], NULL);
	guest_result_clear(&result);
}

void guest_do(struct guest *guest, const char *const *argv)
{
	struct guest_command command;

	guest_command_init(&command, sizeof(command));
	command.argv = argv;
	guest_do_command(guest, &command);
}

/* As `fd` in the child: /dev/null, or one end of a pipe, the other end of which is the caller's. */
static void connect_to(posix_spawn_file_actions_t *actions, int fd, int *ret_ours, int *ret_theirs)
{
	int ends[2], input = fd == 0;

	*ret_theirs = -1;
	if (!ret_ours) {
		posix_spawn_file_actions_addopen(actions, fd, "/dev/null", input ? O_RDONLY : O_WRONLY, 0);
		return;
	}
	if (pipe2(ends, O_CLOEXEC) < 0)
		die("pipe2", NULL);
	*ret_ours = ends[input];
	*ret_theirs = ends[!input];
	posix_spawn_file_actions_adddup2(actions, *ret_theirs, fd);
}

pid_t spawn(const char *const *argv, int *ret_stdin, int *ret_output)
{
	posix_spawn_file_actions_t actions;
	int their_stdin, their_output, errnum;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	connect_to(&actions, 0, ret_stdin, &their_stdin);
	connect_to(&actions, 1, ret_output, &their_output);
	posix_spawn_file_actions_adddup2(&actions, 1, 2);
	errnum = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (their_stdin >= 0)
		close(their_stdin);
	if (their_output >= 0)
		close(their_output);
	errno = errnum;
	return errnum ? -1 : pid;
}

int spawn_and_wait(const char *const *argv)
{
	pid_t pid = spawn(argv, NULL, NULL);
	int status;

	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

void spawn_true(void)
{
	static const char *program;

	if (!program)
		program = path_of(bench.programs, "true");
	if (!spawn_and_wait((const char *const[]){ program, NULL }))
		die(program, NULL);
}

void meter_start(struct meter *meter, const char *const *argv)
{
	meter->pid = spawn(argv, &meter->in, &meter->out);
	if (meter->pid < 0)
		die(argv[0], NULL);
}

void meter_send(const struct meter *meter, unsigned char question)
{
	if (write(meter->in, &question, 1) != 1)
		die("a program that measures by itself", NULL);
}

void meter_take(const struct meter *meter, uint64_t *ret_answers, size_t count)
{
	ssize_t size = (ssize_t)(count * sizeof(*ret_answers)), got = read(meter->out, ret_answers, (size_t)size);

	if (got == size)
		return;
	if (got > 0) /* what it says instead, on stderr */
		fprintf(stderr, "%.*s", (int)got, (const char *)ret_answers);
	die("a program that measures by itself", NULL);
}

void meter_ask(const struct meter *meter, unsigned char question, uint64_t *ret_answers, size_t count)
{
	meter_send(meter, question);
	meter_take(meter, ret_answers, count);
}

void floor_start(struct meter *meter)
{
	meter_start(meter, (const char *const[]){ path_of(bench.programs, "floor"), bench.rootfs, NULL });
}

void meter_end(struct meter *meter)
{
	close(meter->in);
	close(meter->out);
	waitpid(meter->pid, NULL, 0);
}

long proc_kb(const char *file, const char *key)
{
	FILE *stream = fopen(file, "re");
	size_t length = strlen(key);
	char line[160];
	long value = -1;

	while (stream && value < 0 && fgets(line, sizeof(line), stream))
		if (strncmp(line, key, length) == 0 && line[length] == ':')
			value = strtol(line + length + 1, NULL, 10);
	if (stream)
		fclose(stream);
	return value;
}

long kernel_kb(void)
{
	static const char *const keys[] = { "Slab", "KernelStack", "PageTables", "Percpu", "Shmem" };
	long kb = 0;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		kb += proc_kb("/proc/meminfo", keys[i]);
	return kb;
}

long settle(void)
{
	long kb = kernel_kb();

	for (int i = 0; i < 100; i++) {
		long before = kb;

		usleep(200000);
		kb = kernel_kb();
		if (kb > before - 128)
			break;
	}
	return kb;
}

static int is_called(pid_t pid, const char *comm)
{
	char path[40], name[32] = "";
	FILE *stream;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	stream = fopen(path, "re");
	if (stream && fgets(name, sizeof(name), stream))
		name[strcspn(name, "\n")] = '\0';
	if (stream)
		fclose(stream);
	return strcmp(name, comm) == 0;
}

size_t guest_processes(const char *comm, pid_t *ret_pids, size_t max)
{
	DIR *directory = opendir("/proc/self/fdinfo");
	struct dirent *entry;
	char path[sizeof("/proc/self/fdinfo/") + sizeof(entry->d_name)];
	size_t count = 0;

	while (directory && count < max && (entry = readdir(directory))) {
		pid_t pid;

		snprintf(path, sizeof(path), "/proc/self/fdinfo/%s", entry->d_name);
		pid = (pid_t)proc_kb(path, "Pid");
		if (pid > 0 && is_called(pid, comm))
			ret_pids[count++] = pid;
	}
	if (directory)
		closedir(directory);
	return count;
}

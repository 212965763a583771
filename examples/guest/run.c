// SPDX-License-Identifier: MIT
/*
 * guest run: a fresh guest, one command in it with the caller's stdio, the end.
 *
 * The command has a session of its own: Ctrl-C and kill(1) reach the tool alone. It dies of them as
 * any program does, and the guest with it, since the library's keeper process watches whom it
 * belongs to.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "tool.h"

static struct termios terminal;

/* A shell's line editor changes the terminal, and may be killed before it could change it back. */
static void restore_terminal(void)
{
	if (tcgetpgrp(STDIN_FILENO) == getpgrp()) /* from the background it would stop the tool */
		tcsetattr(STDIN_FILENO, TCSANOW, &terminal);
}

static void restore_terminal_and_die(int signum)
{
	restore_terminal();
	raise(signum); /* SA_RESETHAND: by the default action */
}

static void keep_terminal(void)
{
	static const int deadly[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };
	struct sigaction action = { .sa_handler = restore_terminal_and_die,
				    .sa_flags = SA_RESETHAND };
	struct sigaction old;

	if (tcgetattr(STDIN_FILENO, &terminal) < 0)
		return;
	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
		if (sigaction(deadly[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaction(deadly[i], &action, NULL);
}

/* A closed stdin, stdout or stderr would be the number of the next file that is opened. */
static void fill_closed_stdio(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
		if (fd < 0)
			fail("/dev/null: %s", strerror(errno));
	} while (fd <= STDERR_FILENO);
	close(fd);
}

static int status_of_error(const struct guest_error *err)
{
	if (err->stage != GUEST_STAGE_EXECVE)
		return STATUS_FAILED;
	return err->code == -ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE;
}

static int status_of_result(const struct guest_result *result)
{
	if (result->cause == GUEST_TIMED_OUT || result->cause == GUEST_CPU_TIME)
		return STATUS_TIMED_OUT;
	return result->exit_code >= 0 ? result->exit_code : STATUS_SIGNAL + result->term_signal;
}

/* The words whose bits are set. */
static void print_words(const char *label, uint32_t bits, const char *const *words, size_t count)
{
	const char *separator = label;

	for (size_t i = 0; i < count; i++) {
		if (!(bits >> i & 1))
			continue;
		fprintf(stderr, "%s%s", separator, words[i]);
		separator = ", ";
	}
	if (separator != label)
		fputc('\n', stderr);
}

/* Of the limits that were asked for, what enforced them. */
static void print_enforcers(const struct run_options *options, const struct guest_info *info,
			    const struct guest_result *result)
{
	const struct guest_config *config = &options->config;
	const struct {
		const char *name;
		bool wanted;
		uint32_t enforcer;
	} limits[] = {
		{ "memory", config->memory_bytes, info->memory_enforced },
		{ "memory-high", config->memory_high_bytes, info->memory_high_enforced },
		{ "pids", config->pids_max, info->pids_enforced },
		{ "cpus", config->cpu_quota, info->cpu_enforced },
		{ "cpu-weight", config->cpu_weight, info->cpu_weight_enforced },
		{ "io-max", config->io_max, info->io_enforced },
		{ "cpu-time", options->command.cpu_time_ns, result->cpu_time_enforced },
	};
	const char *separator = "enforced     ";

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		if (!limits[i].wanted)
			continue;
		fprintf(stderr, "%s%s: %s", separator, limits[i].name,
			guest_enforcer_name(limits[i].enforcer));
		separator = ", ";
	}
	if (separator[0] == ',')
		fputc('\n', stderr);
	if (info->cgroup)
		fprintf(stderr, "cgroup       %s\n", info->cgroup);
}

static void print_template(const struct guest_info *info)
{
	static const char *const sources[] = {
		[GUEST_TEMPLATE_UNPACKED] = "unpacked",
		[GUEST_TEMPLATE_DIRECTORY] = "a directory",
		[GUEST_TEMPLATE_CACHED] = "cached",
		[GUEST_TEMPLATE_FILLED] = "unpacked into the cache",
		[GUEST_TEMPLATE_NO_CACHE] = "unpacked",
	};

	if (info->template_source < sizeof(sources) / sizeof(sources[0]))
		fprintf(stderr, "rootfs       %s\n", sources[info->template_source]);
}

static void print_stats(const struct guest_result *result)
{
	static const char *const seen[] = { "killed for want of memory", "fork refused",
					    "disk full", "budget spent",
					    "cause is likely, not certain" };

	fprintf(stderr, "cause        %s", guest_cause_name(result->cause));
	if (result->exit_code >= 0)
		fprintf(stderr, ", status %" PRId32, result->exit_code);
	else if (result->term_signal)
		fprintf(stderr, ", signal %" PRId32 " (%s)", result->term_signal,
			strsignal(result->term_signal));
	fputc('\n', stderr);
	print_words("seen         ", result->seen, seen, sizeof(seen) / sizeof(seen[0]));
	fprintf(stderr, "wall time    %.6f s\n", (double)result->wall_ns / 1e9);
	fprintf(stderr, "setup time   %.6f s\n", (double)result->setup_ns / 1e9);
	fprintf(stderr, "user time    %.6f s\n", (double)result->user_ns / 1e9);
	fprintf(stderr, "system time  %.6f s\n", (double)result->system_ns / 1e9);
	fprintf(stderr, "largest RSS  %" PRIu64 " kB\n", result->max_rss_bytes >> 10);
	if (result->memory_peak_bytes)
		fprintf(stderr, "memory peak  %" PRIu64 " kB\n", result->memory_peak_bytes >> 10);
	if (result->processes)
		fprintf(stderr, "processes    %" PRIu64 "\n", result->processes);
	fprintf(stderr, "page faults  %" PRIu64 " minor, %" PRIu64 " major\n", result->minor_faults,
		result->major_faults);
	fprintf(stderr, "written      %" PRIu64 " kB\n", result->written_bytes >> 10);
}

/* What was asked for and cannot be had is told. */
static void print_missing_cache(struct guest *guest)
{
	struct guest_info info = { .size = sizeof(info) };

	if (guest_info(guest, &info, NULL) == 0 && info.cache_error)
		fprintf(stderr, "guest: without a cache: %s\n", info.cache_error);
}

static int run_in(struct guest *guest, const struct run_options *options)
{
	static const char *const shell[] = { "bash", NULL };
	struct guest_error err = { .size = sizeof(err) };
	struct guest_result result = { .size = sizeof(result) };
	struct guest_info info = { .size = sizeof(info) };
	struct guest_command command = options->command;
	int status;

	command.argv = options->argv[0] ? (const char *const *)options->argv : shell;
	command.envp =
		(const char *const *)environment_make(&options->environment, options->config.uid);
	command.stdin_fd = STDIN_FILENO;
	command.stdout_fd = STDOUT_FILENO;
	command.stderr_fd = STDERR_FILENO;
	if (guest_run(guest, &command, &result, &err) < 0) {
		fprintf(stderr, "guest: %s\n", err.message);
		return status_of_error(&err);
	}
	if (options->stats) {
		print_stats(&result);
		if (guest_info(guest, &info, NULL) == 0) {
			print_enforcers(options, &info, &result);
			print_template(&info);
		}
	}
	status = status_of_result(&result);
	guest_result_clear(&result);
	return status;
}

int run_main(int argc, char **argv)
{
	struct guest_error err = { .size = sizeof(err) };
	struct run_options options;
	struct guest *guest;
	int status;

	fill_closed_stdio();
	run_options_read(&options, argc, argv);
	keep_terminal();
	if (guest_init(&guest, &options.config, &err) < 0)
		fail("%s", err.message);
	if (options.config.cache_dir)
		print_missing_cache(guest);
	status = run_in(guest, &options);
	if (guest_shutdown(guest, &err) < 0)
		fprintf(stderr, "guest: %s\n", err.message);
	if (isatty(STDIN_FILENO))
		restore_terminal();
	return status;
}

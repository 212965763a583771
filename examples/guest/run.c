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
	switch (result->cause) {
	case GUEST_EXITED:
		return result->exit_code;
	case GUEST_TIMED_OUT:
		return STATUS_TIMED_OUT;
	default:
		return STATUS_SIGNAL + result->term_signal;
	}
}

static void print_stats(const struct guest_result *result)
{
	fprintf(stderr, "cause        %s", guest_cause_name(result->cause));
	if (result->cause == GUEST_EXITED)
		fprintf(stderr, ", status %" PRId32, result->exit_code);
	else if (result->term_signal)
		fprintf(stderr, ", signal %" PRId32 " (%s)", result->term_signal,
			strsignal(result->term_signal));
	fprintf(stderr, "\nwall time    %.6f s\n", (double)result->wall_ns / 1e9);
	fprintf(stderr, "user time    %.6f s\n", (double)result->user_ns / 1e9);
	fprintf(stderr, "system time  %.6f s\n", (double)result->system_ns / 1e9);
	fprintf(stderr, "largest RSS  %" PRIu64 " kB\n", result->max_rss_bytes >> 10);
	if (result->memory_peak_bytes)
		fprintf(stderr, "memory peak  %" PRIu64 " kB\n", result->memory_peak_bytes >> 10);
}

static int run_in(struct guest *guest, const struct run_options *options)
{
	static const char *const shell[] = { "bash", NULL };
	struct guest_error err = { .size = sizeof(err) };
	struct guest_result result = { .size = sizeof(result) };
	struct guest_command command;
	int status;

	guest_command_init(&command, sizeof(command));
	command.argv = options->argv[0] ? (const char *const *)options->argv : shell;
	command.envp =
		(const char *const *)environment_make(&options->environment, options->config.uid);
	command.cwd = options->cwd;
	command.stdin_fd = STDIN_FILENO;
	command.stdout_fd = STDOUT_FILENO;
	command.stderr_fd = STDERR_FILENO;
	command.timeout_ns = options->timeout_ns;
	if (guest_run(guest, &command, &result, &err) < 0) {
		fprintf(stderr, "guest: %s\n", err.message);
		return status_of_error(&err);
	}
	if (options->stats)
		print_stats(&result);
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
	status = run_in(guest, &options);
	if (guest_shutdown(guest, &err) < 0)
		fprintf(stderr, "guest: %s\n", err.message);
	if (isatty(STDIN_FILENO))
		restore_terminal();
	return status;
}

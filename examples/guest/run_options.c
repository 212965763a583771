// SPDX-License-Identifier: MIT
#include <errno.h>
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "tool.h"

/* No option has a short form: the letters are for read_option() alone. */
static const struct option known[] = {
	{ "rootfs", required_argument, NULL, 'r' },
	{ "cache", optional_argument, NULL, 'k' },
	{ "bind", required_argument, NULL, 'b' },
	{ "ro-bind", required_argument, NULL, 'B' },
	{ "tmpfs", required_argument, NULL, 'T' },
	{ "hostname", required_argument, NULL, 'H' },
	{ "network", required_argument, NULL, 'n' },
	{ "uid", required_argument, NULL, 'u' },
	{ "gid", required_argument, NULL, 'g' },
	{ "caps", required_argument, NULL, 'C' },
	{ "env", required_argument, NULL, 'e' },
	{ "cwd", required_argument, NULL, 'd' },
	{ "timeout", required_argument, NULL, 't' },
	{ "writable", required_argument, NULL, 'w' },
	{ "memory", required_argument, NULL, 'm' },
	{ "memory-high", required_argument, NULL, 'M' },
	{ "pids", required_argument, NULL, 'p' },
	{ "cpus", required_argument, NULL, 'c' },
	{ "cpu-weight", required_argument, NULL, 'W' },
	{ "cpu-time", required_argument, NULL, 'x' },
	{ "io-max", required_argument, NULL, 'i' },
	{ "address-space", required_argument, NULL, 'a' },
	{ "data", required_argument, NULL, 'D' },
	{ "file-size", required_argument, NULL, 'f' },
	{ "open-files", required_argument, NULL, 'o' },
	{ "cgroup", no_argument, NULL, 'G' },
	{ "cgroup-parent", required_argument, NULL, 'P' },
	{ "move-host", no_argument, NULL, 'V' },
	{ "best-effort", no_argument, NULL, 'E' },
	{ "no-seccomp", no_argument, NULL, 'S' },
	{ "stats", no_argument, NULL, 's' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static struct guest_mount *new_mount(struct run_options *options)
{
	uint64_t count = ++options->config.mounts_count;

	options->mounts = grow(options->mounts, count, sizeof(*options->mounts));
	return &options->mounts[count - 1];
}

static uint32_t read_network(const char *text)
{
	if (strcmp(text, "none") != 0 && strcmp(text, "host") != 0)
		fail("--network: '%s' is neither none nor host", text);
	return text[0] == 'h' ? GUEST_NETWORK_HOST : GUEST_NETWORK_NONE;
}

/* 0 stands for the default in the config, which is not what somebody means who writes 0. */
static uint64_t positive(const char *option, uint64_t value)
{
	if (value == 0)
		fail("--%s: 0 is too little", option);
	return value;
}

static uint64_t read_size(const char *option, const char *text)
{
	return positive(option, value_size(option, text));
}

static uint64_t read_count(const char *option, const char *text, uint64_t max)
{
	return positive(option, value_number(option, text, max));
}

/* One more line for io.max. */
static void add_io_max(struct guest_config *config, const char *line)
{
	const char *before = config->io_max ? config->io_max : "";
	char *lines;

	if (asprintf(&lines, "%s%s\n", before, line) < 0)
		fail("%s", strerror(errno));
	config->io_max = lines;
}

static void read_command_limit(struct guest_command *command, int option, const char *name,
			       const char *text)
{
	if (option == 'x')
		command->cpu_time_ns = positive(name, value_time(name, text));
	else if (option == 'a')
		command->address_space_bytes = read_size(name, text);
	else if (option == 'D')
		command->data_bytes = read_size(name, text);
	else if (option == 'f')
		command->file_size_bytes = read_size(name, text);
	else
		command->open_files = read_count(name, text, INT32_MAX);
}

static void read_limit(struct run_options *options, int option, const char *name, const char *text)
{
	struct guest_config *config = &options->config;

	switch (option) {
	case 'w':
		config->writable_bytes = read_size(name, text);
		break;
	case 'm':
		config->memory_bytes = read_size(name, text);
		break;
	case 'M':
		config->memory_high_bytes = read_size(name, text);
		break;
	case 'p':
		config->pids_max = read_count(name, text, INT32_MAX);
		break;
	case 'c':
		config->cpu_quota = value_cpus(name, text);
		break;
	case 'W':
		config->cpu_weight = read_count(name, text, INT32_MAX);
		break;
	case 'i':
		add_io_max(config, text);
		break;
	default:
		read_command_limit(&options->command, option, name, text);
	}
}

static void read_option(struct run_options *options, int option, const char *name, char *text)
{
	struct guest_config *config = &options->config;

	switch (option) {
	case 'r':
		config->rootfs_path = text;
		break;
	case 'k':
		config->cache_dir = text ? text : "";
		break;
	case 'b':
	case 'B':
		value_bind(new_mount(options), text, option == 'B');
		break;
	case 'T':
		value_tmpfs(new_mount(options), text);
		break;
	case 'H':
		config->hostname = text;
		break;
	case 'n':
		config->network = read_network(text);
		break;
	case 'u':
		config->uid = (uint32_t)value_number(name, text, UINT32_MAX - 1);
		break;
	case 'g':
		config->gid = (uint32_t)value_number(name, text, UINT32_MAX - 1);
		break;
	case 'C':
		config->capabilities = text;
		break;
	case 'e':
		strings_add(&options->environment, text);
		break;
	case 'd':
		options->command.cwd = text;
		break;
	case 't':
		options->command.timeout_ns = value_time(name, text);
		break;
	case 'E':
		config->flags |= GUEST_BEST_EFFORT;
		break;
	case 'S':
		config->flags |= GUEST_NO_SECCOMP;
		break;
	case 'G':
		config->flags |= GUEST_CGROUP;
		break;
	case 'P':
		config->cgroup_parent = text;
		break;
	case 'V':
		config->flags |= GUEST_MOVE_HOST;
		break;
	case 's':
		options->stats = true;
		config->budget_written_bytes = UINT64_MAX; /* none, but then it is counted */
		break;
	case 'h':
		exit_with_help();
	case '?':
		fail_usage();
	default:
		read_limit(options, option, name, text);
	}
}

void run_options_read(struct run_options *options, int argc, char **argv)
{
	int option, index = 0;

	*options = (struct run_options){ 0 };
	guest_config_init(&options->config, sizeof(options->config));
	guest_command_init(&options->command, sizeof(options->command));
	/* "+": what follows the first word that is no option belongs to the command */
	while ((option = getopt_long(argc, argv, "+", known, &index)) != -1)
		read_option(options, option, known[index].name, optarg);
	options->config.mounts = options->mounts;
	options->argv = argv + optind;
}

// SPDX-License-Identifier: MIT
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

static const char help[] =
	"usage: guest run [OPTION]... [--] [COMMAND [ARGUMENT]...]\n"
	"       guest doctor [--json]\n"
	"       guest rootfs\n"
	"       guest --version | --help\n"
	"\n"
	"run: a command in a fresh guest, a throw-away Debian userland; bash if none is given.\n"
	"stdin, stdout and stderr are the caller's, as is the exit status.\n"
	"\n"
	"  --rootfs PATH              a directory or a tar instead of the embedded rootfs\n"
	"  --cache[=DIR]              keep the rootfs unpacked in DIR, or in ~/.cache/libguest\n"
	"  --bind SRC[:DST[:OPTIONS]] a path of the host at DST in the guest; DST: the same path\n"
	"  --ro-bind SRC[:DST[:...]]  the same, read-only\n"
	"  --tmpfs DST[:OPTIONS]      an empty tmpfs, for example /data:size=64m\n"
	"  --hostname NAME            [guest]\n"
	"  --network none|host        [none: only a loopback of its own]\n"
	"  --uid N, --gid N           whom the command runs as, inside [0]\n"
	"  --caps TEXT                its capabilities inside, for example cap_chown,cap_setuid=ep\n"
	"  --env NAME[=VALUE]         set, or copy from the caller's environment\n"
	"  --cwd DIR                  [/]\n"
	"  --timeout TIME             kill everything after TIME: 10, 1.5, 200ms, 2m, 1h\n"
	"  --writable SIZE            what the guest may write [1G]\n"
	"  --no-seccomp               allow the system calls that are closed by default\n"
	"  --stats                    say at the end, on stderr, what became of the command, what it\n"
	"                             used, and what enforced its limits\n"
	"\n"
	"Limits, by cgroup v2, or else by the library's own looking every few milliseconds:\n"
	"  --memory SIZE              memory, files written in the guest included\n"
	"  --pids N                   processes and threads\n"
	"  --cpu-time TIME            CPU time of all processes together\n"
	"Limits by cgroup v2 alone:\n"
	"  --cpus N.N                 CPUs at once\n"
	"  --cpu-weight N             share of busy CPUs, 1 to 10000, where others have 100\n"
	"  --memory-high SIZE         beyond it the guest is slowed down, not killed\n"
	"  --io-max 'DEVICE KEY=N...' rbps, wbps, riops, wiops of a block device; may be repeated\n"
	"Where, and what if not:\n"
	"  --cgroup                   in a group of its own, without limits too; nothing else will do\n"
	"  --cgroup-parent DIR        the group in which that of the guest is made\n"
	"  --move-host                this program may move into a leaf of its own group\n"
	"  --best-effort              go without limits that nothing here enforces\n"
	"Limits of each process, as setrlimit(2):\n"
	"  --address-space SIZE, --data SIZE, --file-size SIZE, --open-files N\n"
	"\n"
	"Status: the command's; 128+N if signal N ended it; 124 if its TIME was over; 125 if the\n"
	"guest could not be made; 126 or 127 if the command could not be executed or found.\n"
	"\n"
	"doctor: try what guests need of this host, and say what to do. Status 0: guests work.\n"
	"rootfs: print what the embedded rootfs is.\n"
	"\n"
	"Examples:\n"
	"  guest run -- python3 -c 'import os; print(os.uname().nodename, os.getpid())'\n"
	"  guest run --timeout 10 -- sh -c 'sort | uniq -c | sort -rn' <words.txt\n"
	"  guest run --ro-bind .:/src --cwd /src -- python3 check.py data.csv\n"
	"  guest run --bind ./out:/out --env CI -- sh -c 'date >/out/when'\n"
	"  guest run --memory 512M --pids 64 --cpu-time 30 --stats -- python3 - <untrusted.py\n"
	"  guest doctor --json\n";

void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("guest: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(STATUS_FAILED);
}

void fail_usage(void)
{
	fputs("usage: guest run [OPTION]... [--] [COMMAND [ARGUMENT]...]\n"
	      "       guest doctor [--json] | rootfs | --version | --help\n",
	      stderr);
	exit(STATUS_FAILED);
}

/* What was printed and could not be written is a failure. */
__attribute__((noreturn)) static void finish(int status)
{
	if (fflush(stdout) != 0 || ferror(stdout))
		fail("standard output: %s", strerror(errno));
	exit(status);
}

void exit_with_help(void)
{
	fputs(help, stdout);
	finish(0);
}

void *grow(void *array, size_t count, size_t size)
{
	void *grown = reallocarray(array, count, size);

	if (!grown)
		fail("%s", strerror(errno));
	return grown;
}

void strings_add(struct strings *strings, char *item)
{
	strings->items = grow(strings->items, strings->count + 2, sizeof(*strings->items));
	strings->items[strings->count++] = item;
	strings->items[strings->count] = NULL;
}

static int rootfs_main(int argc, char **argv)
{
	(void)argv;
	if (argc > 1)
		fail_usage();
	puts(guest_rootfs_description());
	return 0;
}

static int help_main(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	exit_with_help();
}

static int version_main(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("guest %s (rootfs: %s)\n", guest_version(), guest_rootfs_description());
	return 0;
}

static const struct {
	const char *name;
	int (*main)(int argc, char **argv);
} commands[] = {
	{ "run", run_main },	       { "doctor", doctor_main },   { "rootfs", rootfs_main },
	{ "help", help_main },	       { "--help", help_main },	    { "-h", help_main },
	{ "--version", version_main }, { "version", version_main }, { "-V", version_main },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(argv[1], commands[i].name) != 0)
			continue;
		argv[1] = argv[0]; /* for getopt's messages */
		finish(commands[i].main(argc - 1, argv + 1));
	}
	if (argc > 1)
		fprintf(stderr, "guest: there is no '%s'\n", argv[1]);
	fail_usage();
}

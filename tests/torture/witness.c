// SPDX-License-Identifier: MIT
/*
 * What a command finds itself in, in words that are the same in each guest of the same kind: what it prints after
 * something has failed, and was got over, must be what it prints otherwise. Then it copies its stdin.
 * `witness sleep` stays for ever.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

static void tell_fds(void)
{
	printf("fds:");
	for (int fd = 0; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			printf(" %d", fd);
	printf("\n");
}

static void tell_status(void)
{
	static const char *const wanted[] = { "Uid:", "Gid:", "Groups:", "Sig", "Cap", "NoNew", "Seccomp", "Umask:" };
	FILE *file = fopen("/proc/self/status", "r");
	char line[512];

	while (file && fgets(line, sizeof(line), file))
		for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
			if (strncmp(line, wanted[i], strlen(wanted[i])) == 0 && strncmp(line, "SigQ", 4) != 0)
				fputs(line, stdout);
	if (file)
		fclose(file);
}

/*
 * All but the masks, of which there may be more, numbers, what is bound (a path of the host), and what the kernel
 * tells of ids of the host.
 */
static void tell_mounts(void)
{
	FILE *file = fopen("/proc/self/mountinfo", "r");
	char line[4096], place[1024], options[256], *rest;

	while (file && fgets(line, sizeof(line), file)) {
		rest = strstr(line, " - ");
		if (!rest || sscanf(line, "%*s %*s %*s %*s %1023s %255s", place, options) != 2 ||
		    strncmp(place, "/proc/", 6) == 0)
			continue;
		rest[strcspn(rest, "\n")] = '\0';
		printf("%s %s", place, options);
		for (char *word = strtok(rest, " ,"); word; word = strtok(NULL, " ,"))
			if (!strstr(word, "id=")) /* uid= or gid= */
				printf(" %s", word);
		printf("\n");
	}
	if (file)
		fclose(file);
}

static dev_t device_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? st.st_rdev : 0; /* a mask is /dev/null */
}

/* Nothing of the host may be read there, nor written. */
static void tell_masks(void)
{
	static const char *const files[] = { "kcore",	   "keys",	  "key-users",	   "kallsyms",
					     "timer_list", "sched_debug", "latency_stats", "kmsg",
					     "kpagecount", "kpageflags",  "sysrq-trigger", "vmallocinfo",
					     "acpi",	   "scsi",	  "asound",	   "sys/kernel/hostname" };
	char path[64], byte;

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		DIR *directory;
		struct dirent *entry;
		int fd, count = 0;

		snprintf(path, sizeof(path), "/proc/%s", files[i]);
		fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (fd >= 0 && read(fd, &byte, 1) > 0)
			printf("%s can be read\n", path);
		close(fd);
		fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
		if (fd >= 0 && major(device_of(fd)) != 1)
			printf("%s can be written\n", path);
		close(fd);
		directory = opendir(path);
		while (directory && (entry = readdir(directory)))
			count += entry->d_name[0] != '.';
		if (directory)
			closedir(directory);
		if (count)
			printf("%s has %d entries\n", path, count);
	}
}

static void tell_file(const char *path)
{
	char text[256] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	printf("%s: %s\n", path, n < 0 ? strerror(errno) : text);
	if (fd >= 0)
		close(fd);
}

static void tell_places(void)
{
	static const char *const places[] = { "/", "/tmp", "/dev", "/dev/shm", "/etc", "/opt", "/mnt" };
	struct stat st;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (stat(places[i], &st) == 0)
			printf("%s: %o %u:%u\n", places[i], st.st_mode, st.st_uid, st.st_gid);
}

static int count_processes(void)
{
	DIR *directory = opendir("/proc");
	struct dirent *entry;
	int count = 0;

	while (directory && (entry = readdir(directory)))
		count += entry->d_name[0] >= '1' && entry->d_name[0] <= '9';
	if (directory)
		closedir(directory);
	return count;
}

/* PID 1 and this one. What could not be started tells so itself, and is there for a moment longer. */
static void tell_processes(void)
{
	int count = count_processes();

	for (int i = 0; count > 2 && i < 1000; i++, count = count_processes())
		usleep(1000);
	printf("processes: %d\n", count);
}

/* Those that users share are divided as well as can be. */
static void tell_limits(void)
{
	struct rlimit limit;

	for (int i = 0; i < RLIM_NLIMITS; i++)
		if (i != RLIMIT_SIGPENDING && i != RLIMIT_MSGQUEUE && i != RLIMIT_MEMLOCK && getrlimit(i, &limit) == 0)
			printf("limit %d: %lld %lld\n", i, (long long)limit.rlim_cur, (long long)limit.rlim_max);
}

/* What must not be possible, or must. */
static void try_things(void)
{
	struct ifreq request = { .ifr_name = "lo" };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char link[64];

	printf("lo: %d %#x\n", ioctl(fd, SIOCGIFFLAGS, &request), (unsigned int)request.ifr_flags);
	close(fd);
	printf("pid 1: %zd %s\n", readlink("/proc/1/ns/mnt", link, sizeof(link)), strerror(errno));
	printf("setns: %d %s\n", setns(0, CLONE_NEWNS), strerror(errno));
	printf("user namespace: %d %s\n", unshare(CLONE_NEWUSER), strerror(errno));
}

int main(int argc, char **argv)
{
	char bytes[4096], cwd[256];
	struct utsname name;
	long count = 0;
	ssize_t n;

	if (argc > 1 && strcmp(argv[1], "sleep") == 0)
		for (;;)
			pause();
	if (argc > 1 && strcmp(argv[1], "count") == 0) {
		while ((n = read(0, bytes, sizeof(bytes))) > 0)
			count += n;
		printf("%ld\n", count);
		return 0;
	}
	tell_fds();
	uname(&name);
	printf("%s %s %d\n", name.nodename, getcwd(cwd, sizeof(cwd)), getsid(0) == getpid());
	tell_status();
	tell_mounts();
	tell_masks();
	tell_places();
	tell_processes();
	tell_limits();
	tell_file("/proc/self/uid_map");
	tell_file("/proc/self/gid_map");
	tell_file("/proc/sys/user/max_user_namespaces");
	tell_file("/proc/sys/user/max_inotify_instances");
	tell_file("/etc/hostname");
	try_things();
	while ((n = read(0, bytes, sizeof(bytes))) > 0)
		fwrite(bytes, 1, (size_t)n, stdout);
	return 3;
}

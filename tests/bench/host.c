// SPDX-License-Identifier: MIT
/* Does a guest cost more from a large host? fork(2) does: it copies the page tables. */
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sections.h"

static void measure_fork(struct row *row)
{
	uint64_t start = now_ns();
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	if (pid < 0 || waitpid(pid, NULL, 0) != pid)
		die("fork", NULL);
	row_add_since(row, start);
}

static void measure_guest(struct guest *kept, const struct host *host)
{
	uint64_t start = now_ns();
	struct guest *guest;

	guest_do(kept, true_in_guest);
	row_add_since(host->run, start);
	start = now_ns();
	guest = guest_make(GUEST_NETWORK_NONE);
	row_add_since(host->init, start);
	guest_end(guest);
}

void host_measure(struct guest *kept, const struct host *hosts, size_t count)
{
	size_t size = hosts[count - 1].bytes, touched = 0;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		die("memory", NULL);
	for (const struct host *host = hosts; host < hosts + count; host++) {
		/* at once: on a virtual machine, a fault for each page takes 25 times as long */
		if (madvise(memory + touched, host->bytes - touched, MADV_POPULATE_WRITE) < 0)
			memset(memory + touched, 1, host->bytes - touched); /* before Linux 5.14 */
		touched = host->bytes;
		/* it is in the caches now, instead of everything else */
		for (int i = 0; i < 10; i++) {
			guest_do(kept, true_in_guest);
			guest_end(guest_make(GUEST_NETWORK_NONE));
		}
		for (int i = 0; i < 5; i++)
			measure_guest(kept, host);
		/* after them: a host that was copied has a fault for each page that it writes to next */
		for (int i = 0; i < 5; i++)
			measure_fork(host->fork);
	}
	munmap(memory, size);
}

int host_fits(uint64_t bytes)
{
	return bytes / 1024 * 5 / 4 < (uint64_t)proc_kb("/proc/meminfo", "MemAvailable");
}

static void make_rows(struct host *host, const struct host *smallest, const char *size)
{
	host->fork = row_new("ms", "fork, host of %s", size);
	host->run = row_new("ms", "guest_run, host of %s", size);
	host->init = row_new("ms", "guest_init, host of %s", size);
	row_compare(host->run, host->fork);
	row_compare(host->init, host->fork);
	if (host == smallest)
		return;
	row_compare(host->fork, smallest->fork);
	row_compare(host->run, smallest->run);
	row_compare(host->init, smallest->init);
}

void host_section(unsigned int rounds)
{
	static const char *const names[] = { "10 MB", "100 MB", "1 GB", "2 GB", "4 GB" };
	struct host hosts[] = { { 10ULL << 20, 0, 0, 0 },
				{ 100ULL << 20, 0, 0, 0 },
				{ 1ULL << 30, 0, 0, 0 },
				{ 2ULL << 30, 0, 0, 0 },
				{ 4ULL << 30, 0, 0, 0 } };
	struct guest *kept = guest_make(GUEST_NETWORK_NONE);
	size_t count = 0;

	while (count < sizeof(hosts) / sizeof(hosts[0]) - (bench.quick ? 2 : 0) && host_fits(hosts[count].bytes)) {
		make_rows(&hosts[count], hosts, names[count]);
		count++;
	}
	while (rounds-- > 0 && count > 0)
		host_measure(kept, hosts, count);
	guest_end(kept);
}

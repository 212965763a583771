// SPDX-License-Identifier: MIT
/* What procfs would tell about the host or do to it. */
#include "attack.h"

#include <fcntl.h>
#include <unistd.h>

int main(void)
{
	static const char *const secrets[] = { "/proc/kcore", "/proc/keys", "/proc/key-users", "/proc/kallsyms",
					       "/proc/kmsg", "/proc/kpagecount", "/proc/kpageflags",
					       "/proc/timer_list", "/proc/sched_debug", "/proc/vmallocinfo" };
	static const char *const levers[] = { "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern",
					      "/proc/sys/kernel/hostname", "/proc/sys/vm/drop_caches",
					      "/proc/sys/user/max_user_namespaces", "/proc/sys/kernel/ns_last_pid",
					      "/proc/irq/default_smp_affinity", "/proc/bus/pci/00/00.0",
					      "/proc/sys/net/ipv4/ip_forward", "/proc/self/oom_score_adj_x" };
	char byte;

	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
		int fd = open(secrets[i], O_RDONLY | O_NONBLOCK);

		if (fd >= 0 && read(fd, &byte, 1) > 0) {
			printf("%s: can be read\n", secrets[i]);
			attack_succeeded = 1;
		}
	}
	for (size_t i = 0; i < sizeof(levers) / sizeof(levers[0]); i++) {
		int fd = open(levers[i], O_WRONLY);

		if (fd >= 0 && strcmp(levers[i], "/proc/sysrq-trigger") != 0) {
			printf("%s: can be opened for writing\n", levers[i]);
			attack_succeeded = 1;
		}
	}
	return attack_succeeded;
}

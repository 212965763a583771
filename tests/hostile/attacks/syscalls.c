// SPDX-License-Identifier: MIT
/* System calls that are of use only against the kernel or the host, in all tables of this architecture. */
#include "attack.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void try(const char *name, long number)
{
	long zero[16] = { 0 };

	if (number < 0)
		return;
	errno = 0;
	MUST_FAIL(name, syscall(number, zero, 0, zero, 0, 0, 0));
	if (errno != EPERM && errno != ENOSYS) {
		printf("%s: reached the kernel (%s)\n", name, strerror(errno));
		attack_succeeded = 1;
	}
}

int main(void)
{
	try("bpf", SYS_bpf);
	try("perf_event_open", SYS_perf_event_open);
	try("userfaultfd", SYS_userfaultfd);
	try("io_uring_setup", 425);
	try("io_uring_enter", 426);
	try("io_uring_register", 427);
	try("kexec_load", SYS_kexec_load);
	try("init_module", SYS_init_module);
	try("finit_module", SYS_finit_module);
	try("delete_module", SYS_delete_module);
	try("keyctl", SYS_keyctl);
	try("add_key", SYS_add_key);
	try("request_key", SYS_request_key);
	try("memfd_secret", 447);
	try("io_setup", SYS_io_setup);
	try("syslog", SYS_syslog);
	try("reboot", SYS_reboot);
	try("swapon", SYS_swapon);
	try("acct", SYS_acct);
	try("settimeofday", SYS_settimeofday);
	try("clock_settime", SYS_clock_settime);
	try("open_by_handle_at", SYS_open_by_handle_at);
	try("quotactl", SYS_quotactl);
	try("setns", SYS_setns);
	try("one that does not exist yet", 900);
#ifdef __x86_64__
	try("x32 getpid", 0x40000000 + SYS_getpid);
	try("x32 bpf", 0x40000000 + SYS_bpf);
#endif
	return attack_succeeded;
}

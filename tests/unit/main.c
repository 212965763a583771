// SPDX-License-Identifier: MIT
#include "unit.h"

#include <fcntl.h>
#include <stdlib.h>

/* In the library it stands with the entry points, which need all the rest. */
const char *guest_version(void)
{
	return "of the unit tests";
}

int count_fds(void)
{
	int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

int main(void)
{
	TCase *(*const cases[])(void) = { config_case, mount_case, error_case, fd_case, wire_case, output_case,
					  rootfs_case };
	Suite *suite = suite_create("unit");
	SRunner *runner;
	int failed;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		suite_add_tcase(suite, cases[i]());
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}

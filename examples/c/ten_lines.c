// SPDX-License-Identifier: MIT
#include <guest/guest.h>
#include <stdio.h>

int main(void)
{
	const char *argv[] = { "python3", "-c", "import os; print(os.uname().nodename)", NULL };
	struct guest_result result = { .size = sizeof(result) };
	struct guest_error err = { .size = sizeof(err) };
	struct guest_command command;
	struct guest *guest;

	guest_command_init(&command, sizeof(command));
	command.argv = argv;
	if (guest_init(&guest, NULL, &err) < 0 || guest_run(guest, &command, &result, &err) < 0)
		return fprintf(stderr, "%s\n", err.message), 1;
	printf("exit code %d: %s", result.exit_code, result.stdout_data);
	guest_result_clear(&result);
	return guest_shutdown(guest, &err) < 0;
}

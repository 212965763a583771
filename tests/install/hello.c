// SPDX-License-Identifier: MIT
/* What a program outside the tree looks like. */
#include <guest/guest.h>
#include <stdio.h>

int main(void)
{
	const char *argv[] = { "echo", "hello from a guest", NULL };
	struct guest_result result = { .size = sizeof(result) };
	struct guest_error err = { .size = sizeof(err) };
	struct guest_command command;
	struct guest *guest;

	guest_command_init(&command, sizeof(command));
	command.argv = argv;
	if (guest_init(&guest, NULL, &err) < 0 || guest_run(guest, &command, &result, &err) < 0) {
		fprintf(stderr, "%s\n", err.message);
		return 1;
	}
	fputs(result.stdout_data, stdout);
	guest_result_clear(&result);
	return guest_shutdown(guest, &err) < 0;
}

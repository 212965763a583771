// SPDX-License-Identifier: MIT
/* Kill everybody. */
#include "attack.h"

#include <signal.h>

int main(void)
{
	kill(-1, SIGKILL);
	kill(0, SIGKILL); /* the first leaves out its sender */
	return 1;
}

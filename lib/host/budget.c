// SPDX-License-Identifier: MIT
/*
 * What a guest may use in its life. Commands are taken out before they start, so that any number of
 * threads get no more than there are; what a command uses is counted as it comes.
 */
#include <errno.h>

#include "base/error.h"
#include "base/sys.h"
#include "host/host.h"

void budget_init(struct budget *budget, const struct guest_config *config)
{
	*budget = (struct budget){
		.commands = config->budget_commands,
		.cpu_ns = config->budget_cpu_ns,
		.output_bytes = config->budget_output_bytes,
		.written_bytes = config->budget_written_bytes,
	};
	if (config->budget_wall_ns > 0 && config->budget_wall_ns < HOST_NEVER - sys_now_ns())
		budget->wall_deadline = sys_now_ns() + config->budget_wall_ns;
}

bool budget_count(uint64_t *used, uint64_t allowed, uint64_t more)
{
	uint64_t now = __atomic_add_fetch(used, more, __ATOMIC_RELAXED);

	return allowed == 0 || now <= allowed;
}

static bool is_spent(const uint64_t *used, uint64_t allowed)
{
	return allowed > 0 && __atomic_load_n(used, __ATOMIC_RELAXED) >= allowed;
}

int budget_take(struct budget *budget, struct guest_error *err)
{
	const char *spent = NULL;

	if (is_spent(&budget->cpu_used_ns, budget->cpu_ns))
		spent = "CPU time";
	else if (budget->wall_deadline && sys_now_ns() >= budget->wall_deadline)
		spent = "wall time";
	else if (is_spent(&budget->output_used, budget->output_bytes))
		spent = "output";
	else if (is_spent(&budget->written_used, budget->written_bytes))
		spent = "written bytes";
	else if (!budget_count(&budget->commands_used, budget->commands, 1)) {
		__atomic_sub_fetch(&budget->commands_used, 1, __ATOMIC_RELAXED);
		spent = "commands";
	}
	return spent ? error_text(err, EDQUOT, GUEST_STAGE_BUDGET,
				  "the guest's budget of %s is spent", spent) :
		       0;
}

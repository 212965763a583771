// SPDX-License-Identifier: MIT
#include <errno.h>
#include <string.h>
#include <sys/capability.h>

#include "base/error.h"
#include "config/config.h"

#define BIT(capability) (1ULL << (capability))

/*
 * What a package manager, or a server that drops its privileges, needs of root inside the guest.
 * Without CAP_SYS_ADMIN a command cannot undo the masks over /proc or the cap on what it writes.
 */
#define DEFAULT_ROOT                                                                  \
	(BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER) | BIT(CAP_FSETID) | \
	 BIT(CAP_KILL) | BIT(CAP_SETGID) | BIT(CAP_SETUID) | BIT(CAP_SETPCAP) |       \
	 BIT(CAP_NET_BIND_SERVICE))

static uint64_t flag_mask(cap_t capabilities, cap_flag_t flag)
{
	uint64_t mask = 0;

	for (int capability = 0; capability < cap_max_bits() && capability < 64; capability++) {
		cap_flag_value_t value;

		if (cap_get_flag(capabilities, capability, flag, &value) == 0 && value == CAP_SET)
			mask |= BIT(capability);
	}
	return mask;
}

int config_read_capabilities(const char *text, uint32_t uid, uint64_t *ret_permitted,
			     uint64_t *ret_inheritable, struct guest_error *err)
{
	cap_t capabilities;

	if (!text) {
		*ret_permitted = uid == 0 ? DEFAULT_ROOT : 0;
		*ret_inheritable = 0;
		return 0;
	}
	capabilities = cap_from_text(text);
	if (!capabilities) {
		if (errno == ENOMEM)
			return error_make(err, ENOMEM, GUEST_STAGE_MEMORY, "capabilities");
		return error_text(
			err, EINVAL, GUEST_STAGE_CONFIG,
			"capabilities: \"%.80s\" is not what cap_from_text(3) reads, such as "
			"\"cap_chown,cap_setuid=ep\"",
			text);
	}
	*ret_permitted = flag_mask(capabilities, CAP_PERMITTED);
	/* an exec by another user than root keeps what is inheritable, and ambient */
	*ret_inheritable = flag_mask(capabilities, CAP_INHERITABLE) & *ret_permitted;
	if (uid != 0)
		*ret_inheritable = *ret_permitted;
	cap_free(capabilities);
	return 0;
}

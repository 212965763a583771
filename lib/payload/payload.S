/* SPDX-License-Identifier: MIT */
	.section .rodata.guest_payload, "a"

	.macro blob name, file
	.balign 64
	.global \name\()_begin
	.hidden \name\()_begin
\name\()_begin:
	.incbin "\file"
	.global \name\()_end
	.hidden \name\()_end
\name\()_end:
	.byte 0
	.endm

	blob payload_rootfs, GUEST_ROOTFS_FILE
	blob payload_helper, GUEST_HELPER_FILE
	blob payload_unpacker, GUEST_UNPACKER_FILE

	.section .note.GNU-stack, "", %progbits

# SPDX-License-Identifier: MIT
# Makes the header with the first line of MANIFEST in it.
file(STRINGS "${MANIFEST}" lines LIMIT_COUNT 1)
string(REPLACE "\\" "" line "${lines}")
string(REPLACE "\"" "" line "${line}")
file(WRITE "${HEADER}" "#define GUEST_ROOTFS_DESCRIPTION \"${line}\"\n")

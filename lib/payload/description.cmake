# SPDX-License-Identifier: MIT
# Makes the header with the first line of MANIFEST, and the digest of ROOTFS, in it.
file(STRINGS "${MANIFEST}" lines LIMIT_COUNT 1)
string(REPLACE "\\" "" line "${lines}")
string(REPLACE "\"" "" line "${line}")
file(SHA256 "${ROOTFS}" digest)
file(WRITE "${HEADER}" "#define GUEST_ROOTFS_DESCRIPTION \"${line}\"
#define GUEST_ROOTFS_DIGEST \"${digest}\"
")

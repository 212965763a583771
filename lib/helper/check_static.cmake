# SPDX-License-Identifier: MIT
# Debian's musl-gcc makes a dynamic program without a word when it is given some options (-static-pie).
find_program(READELF readelf REQUIRED)
execute_process(COMMAND ${READELF} -l ${PROGRAM} OUTPUT_VARIABLE headers COMMAND_ERROR_IS_FATAL ANY)
if(headers MATCHES "INTERP")
	message(FATAL_ERROR "${PROGRAM} is not static")
endif()
file(SIZE ${PROGRAM} size)
if(size GREATER LIMIT)
	message(FATAL_ERROR "${PROGRAM} has ${size} bytes, more than ${LIMIT}")
endif()

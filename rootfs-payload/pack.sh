# SPDX-License-Identifier: MIT
#
# Part of `build`: from the rootfs in $root to $work/payload.tar.xz, and its sizes.
# shellcheck shell=sh disable=SC2154 # `build` sets the variables

# README.md has the measurements behind these.
block_size=4MiB
xz_filters='--x86 --lzma2=preset=9e,dict=4MiB'

# Owners are given here, so that an ordinary user's build is root's, byte for byte.
archive() {
	owner=$1
	shift
	LC_ALL=C tar -C "$root" --format=gnu --numeric-owner --owner="$owner" --group="$owner" \
		--mtime="@$SOURCE_DATE_EPOCH" --no-recursion --verbatim-files-from --files-from="$work/names" "$@"
}

# Directories, links, then files with their like beside them, which saves 1.4 % of the size: programs and
# libraries package by package, other files, Python sources, byte code. Tab-separated lines from find(1) on
# standard input: type, path.
in_order() {
	awk -F '\t' '
		BEGIN {
			for (i = 1; i < ARGC; i++) {
				n = split(ARGV[i], part, "/")
				while ((getline path < ARGV[i]) > 0) {
					sub(/^\/(usr\/)?/, "", path)
					package[path] = part[n]
				}
				close(ARGV[i])
			}
			ARGC = 1
		}
		function place(type, path) {
			if (type == "d") return 0
			if (type == "l") return 1
			if (path ~ /\.py$/) return 4
			if (path ~ /\.pyc$/) return 5
			if (path ~ /^usr\/s?bin\// || path ~ /\.so/) return 2
			return 3
		}
		{
			order = place($1, $2)
			name = $2
			sub(/^usr\//, "", name)
			printf "%d\t%s\t%s\n", order, order == 2 ? package[name] : "", $2
		}' "$root"/var/lib/dpkg/info/*.list | LC_ALL=C sort | cut -f 3
}

pack() {
	find "$root" -mindepth 1 -printf '%y\t%P\n' | in_order >"$work/all"
	grep -vx 'home/guest.*' "$work/all" >"$work/names"
	archive 0 --create --file="$work/payload.tar"
	grep -x 'home/guest.*' "$work/all" >"$work/names"
	archive 1000 --append --file="$work/payload.tar"
	# "+": one thread too writes the block sizes into the headers, which the multi-threaded decoder needs.
	# shellcheck disable=SC2086 # several options
	xz --keep --check=crc32 --threads="+$jobs" --block-size=$block_size $xz_filters "$work/payload.tar"
}

report() {
	begin=$(date +%s%N)
	xz -T0 -dc "$output" >/dev/null
	end=$(date +%s%N)
	printf '%-12s %s\n' \
		unpacked "$(find "$root" -type f -printf '%s\n' | awk '{ n += $1 } END { printf "%.1f MB", n / 1e6 }')" \
		entries "$(find "$root" -mindepth 1 | wc -l)" \
		compressed "$(wc -c <"$output" | awk '{ printf "%.2f MB", $1 / 1e6 }')" \
		blocks "$(xz --robot --list "$output" | awk '$1 == "file" { print $3 }')" \
		decoded "in $(((end - begin) / 1000000)) ms by $(nproc) cores" \
		sha256 "$(sha256sum <"$output" | cut -d ' ' -f 1)"
}

# SPDX-License-Identifier: MIT
#
# Part of `build`: from package lists to a rootfs in $root.
# shellcheck shell=sh disable=SC2154 # `build` sets the variables

# The entries of data files, without comments and blank lines.
entries() {
	sed -e 's/[[:space:]]*$//' -e '/^#/d' -e '/^$/d' "$@"
}

# The data files of a kind for this variant: variant_entries prune
variant_entries() {
	if [ -e "$here/$1.$variant" ]; then
		entries "$here/$1.common" "$here/$1.$variant"
	else
		entries "$here/$1.common"
	fi
}

# Debian's own entries among the host's apt sources. None: mmdebstrap uses its default.
host_sources() {
	# shellcheck disable=SC2016 # apt-get expands these
	apt-get indextargets --format '$(ORIGIN) $(CODENAME) deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
		'Created-By: Packages' 2>/dev/null | sed -n "s/^Debian ${suite}[^ ]* \(deb .* main\)\$/\1/p" | sort -u
}

# Leaves "package path-of-deb" lines, sorted, in $work/debs.
fetch() {
	include=$(variant_entries packages | paste -s -d , -)
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	host_sources >"$work/sources"
	# The download is in a directory of ours, which apt's sandbox user may not enter.
	set -- --variant=extract --mode=chrootless --format=directory --include="$include" \
		--skip=extract --skip=cleanup/apt/cache --aptopt='APT::Sandbox::User "root"'
	[ ! -e $keyring ] || set -- "$@" --keyring=$keyring
	set -- "$@" "$suite" "$work/download"
	[ ! -s "$work/sources" ] || set -- "$@" "$work/sources"
	# An empty proxy variable is "none" to apt.
	clean_env http_proxy="${http_proxy-}" https_proxy="${https_proxy-}" no_proxy="${no_proxy-}" \
		mmdebstrap "$@" >"$work/mmdebstrap.log" 2>&1 || {
		cat "$work/mmdebstrap.log" >&2
		die 'mmdebstrap could not download the packages'
	}
	entries "$here/packages.drop" >"$work/drop"
	for deb in "$work"/download/var/cache/apt/archives/*.deb; do
		package=$(dpkg-deb --field "$deb" Package)
		grep -qxF "$package" "$work/drop" || printf '%s %s\n' "$package" "$deb"
	done | LC_ALL=C sort >"$work/debs"
}

unpack() {
	# Debian's usr-merged layout: tar follows the links.
	for dir in bin lib lib64 sbin; do
		mkdir -p "$root/usr/$dir"
		ln -s "usr/$dir" "$root/$dir"
	done
	while read -r package deb; do
		dpkg-deb --fsys-tarfile "$deb" |
			tar -C "$root" -xp --keep-directory-symlink --no-same-owner
		doc=$root/usr/share/doc/$package
		if [ -L "$doc" ]; then
			# Documentation shared with another package: keep the way to the copyright file alone.
			other=$(basename "$(readlink "$doc")")
			rm "$doc"
			mkdir "$doc"
			ln -s "../$other/copyright" "$doc/copyright"
		fi
	done <"$work/debs"
	# The archive is owned by 0:0 and guests have no_new_privs: set-id bits would mean nothing.
	find "$root" ! -type l -perm /6022 ! -perm -1777 -exec chmod u-s,g-ws,o-w {} +
}

# What maintainer scripts would have done, as far as a guest sees it.
configure() {
	for table in passwd group; do
		cp "$root/usr/share/base-passwd/$table.master" "$root/etc/$table"
	done
	echo 'guest:*:1000:1000:guest:/home/guest:/bin/bash' >>"$root/etc/passwd"
	echo 'guest:*:1000:' >>"$root/etc/group"
	cp -R "$root/etc/skel" "$root/home/guest"
	cp "$root/usr/share/base-files/profile" "$root/etc/profile"
	cp "$root/usr/share/base-files/dot.bashrc" "$root/root/.bashrc"
	cp "$root/usr/share/base-files/dot.profile" "$root/root/.profile"
	chmod 0700 "$root/root"
	(cd "$here/files" && find . -type f) | while read -r file; do
		install -D -m 0644 "$here/files/$file" "$root/$file"
	done
	mkdir -p "$root/mnt" "$root/srv" "$root/usr/share/guest"
	# where /var/lock leads
	mkdir -p -m 1777 "$root/run/lock"
	entries "$here/links" | while read -r link target; do
		case $target in
		/* | ../*) ;;
		*) [ -e "$root/$(dirname "$link")/$target" ] || continue ;;
		esac
		[ ! -d "$root/$link" ] || rmdir "$root/$link"
		ln -sf "$target" "$root/$link"
	done
	[ -e "$root/usr/share/zoneinfo" ] || rm "$root/etc/localtime"
	[ ! -e "$root/usr/share/ca-certificates" ] || trust_certificates
	# Statically linked; it finds its own way below a root, as an ordinary user too.
	"$root/sbin/ldconfig" -X -r "$root"
	rm -f "$root/var/cache/ldconfig/aux-cache"
}

# The same result as update-ca-certificates(8).
trust_certificates() {
	(cd "$root/usr/share/ca-certificates" && find . -name '*.crt' -printf '%P\n' | LC_ALL=C sort) \
		>"$root/etc/ca-certificates.conf"
	# Relative links, as fakechroot does not find its way through absolute ones.
	while read -r file; do
		ln -s "../../../usr/share/ca-certificates/$file" "$root/etc/ssl/certs/$(basename "$file" .crt).pem"
		cat "$root/usr/share/ca-certificates/$file"
	done <"$root/etc/ca-certificates.conf" >"$work/ca-certificates.crt"
	inside /usr/bin/openssl rehash /etc/ssl/certs
	install -m 0644 "$work/ca-certificates.crt" "$root/etc/ssl/certs/ca-certificates.crt"
}

prune() {
	variant_entries prune >"$work/prune"
	set -- -false
	while read -r pattern; do
		case $pattern in
		!*) ;;
		*/) set -- "$@" -o -path "./${pattern%/}" -o -path "./$pattern*" ;;
		*) set -- "$@" -o -path "./$pattern" ;;
		esac
	done <"$work/prune"
	set -- '(' "$@" ')'
	while read -r pattern; do
		case $pattern in
		!*) set -- "$@" ! -path "./${pattern#!}" ;;
		esac
	done <"$work/prune"
	(cd "$root" && find . -mindepth 1 -depth "$@" '(' ! -type d -o -empty ')' -delete)
}

# dpkg's database, as far as `dpkg -l`, `-L` and `-S` read it: the packages as installed and, of their files,
# those that are left.
record() {
	db=$root/var/lib/dpkg
	mkdir -p "$db/info" "$db/updates" "$db/triggers"
	echo 1 >"$db/info/format"
	while read -r package deb; do
		dpkg-deb --field "$deb" | sed '1a Status: install ok installed'
		echo
		list=$package
		if [ "$(dpkg-deb --field "$deb" Multi-Arch)" = same ]; then
			list=$package:$(dpkg-deb --field "$deb" Architecture)
		fi
		dpkg-deb --fsys-tarfile "$deb" | tar -t --quoting-style=literal | sed -e 's,^\.,,' -e 's,/$,,' -e 's,^$,/.,' |
			while IFS= read -r path; do
				if [ -e "$root$path" ] || [ -L "$root$path" ]; then
					printf '%s\n' "$path"
				fi
			done >"$db/info/$list.list"
	done <"$work/debs" >"$db/status"
}

# First line: the payload in one line. Then one line per package, tab-separated.
write_manifest() {
	file=$root/usr/share/guest/manifest
	release="Debian $(cat "$root/etc/debian_version")"
	version=$(dpkg-query --admindir="$root/var/lib/dpkg" -W -f '${Version}' python3.11 2>/dev/null) || version=
	name=${version:+python ${version%%-*}}
	{
		printf '%s, %s, %d packages\n' "${name:-$variant}" "$release" "$(wc -l <"$work/debs")"
		printf '# package\tversion\tsource\tsource version\tarchitecture\tlicence\n'
		dpkg-query --admindir="$root/var/lib/dpkg" -W -f '${Package}\t${Version}\t${source:Package}\t${source:Version}\t${Architecture}\t/usr/share/doc/${Package}/copyright\n' |
			LC_ALL=C sort
	} >"$file"
	sed 1,2d "$file" | cut -f 6 | while read -r licence; do
		[ -s "$root$licence" ] || die "$licence is missing"
	done
}

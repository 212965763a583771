# SPDX-License-Identifier: MIT
"""What each kind of entry becomes. The policy is the table in lib/helper/unpack/main.c."""

import errno
import io
import os
import stat
import tarfile

import pytest
from unpacker import entry, header, longname, pax, tar

DIR = dict(kind=b"5", mode=0o755)


def symlink(name, target):
    return header(name, kind=b"2", link=target, mode=0o777)


def hardlink(name, target):
    return header(name, kind=b"1", link=target)


# Paths


@pytest.mark.parametrize(
    "name",
    [
        b"../x",
        b"..",
        b"a/../../x",
        b"a/..",
        b"./../x",
        b"/../x",
        b"a/../b",
        b"..//x",
        b"a/b/../../../outside/file",
    ],
)
def test_dotdot_is_refused(unpacker, name):
    report = unpacker.bad(tar(entry(b"a/ok", b"1"), entry(name, b"pwned")))
    assert '".." in a path' in report.message


@pytest.mark.parametrize("name", [b"...", b"..a", b"a..", b"a/...b/c"])
def test_names_that_only_look_like_dotdot_are_fine(unpacker, name):
    unpacker.ok(tar(entry(name, b"1")))
    assert unpacker.read(name) == b"1"


def test_absolute_paths_end_up_inside(unpacker):
    inside = os.fsencode(str(unpacker.outside / "new"))
    unpacker.ok(tar(longname(inside), entry(b"short", b"1"), entry(b"//etc///x", b"2")))
    assert unpacker.read(inside.lstrip(b"/")) == b"1"
    assert unpacker.read("etc/x") == b"2"


def test_dots_and_slashes_are_taken_out(unpacker):
    unpacker.ok(tar(header(b"./a/./", **DIR), entry(b"./a//b/././c", b"1")))
    assert unpacker.read("a/b/c") == b"1"


@pytest.mark.parametrize("name", [b".", b"./", b"/", b"././/."])
def test_the_root_gets_mode_and_time(unpacker, name):
    unpacker.ok(tar(header(name, kind=b"5", mode=0o751, mtime=86400), entry(b"f", b"1")))
    st = os.stat(str(unpacker.target))
    assert stat.S_IMODE(st.st_mode) == 0o751
    assert st.st_mtime == 86400


@pytest.mark.parametrize("kind", [b"0", b"1", b"2"])
def test_nothing_else_takes_the_place_of_the_root(unpacker, kind):
    unpacker.bad(tar(entry(b"f", b"1"), header(b".", kind=kind, link=b"f")))
    unpacker.bad(tar(entry(b"g", b"1"), header(b"", kind=kind, link=b"g")))


def test_names_end_at_a_nul(unpacker):
    unpacker.ok(
        tar(header(b"a\0/../../x", kind=b"0"), pax([(b"path", b"b\0/../../y")]), entry(b"z", b"1"))
    )
    assert set(unpacker.tree()) == {b"a", b"b"}


def test_bytes_in_names_are_kept(unpacker):
    names = [
        b"latin-\xe9\xff\xfe",
        "utf8-\u00e9\u4e2d\U0001f600".encode(),
        b"new\nline\x1b[31m",
        b"back\\slash\"'",
    ]
    unpacker.ok(tar(*[entry(name, name) for name in names]))
    assert set(unpacker.tree()) == set(names)


@pytest.mark.parametrize(
    "name",
    [
        "utf8-\u00e9\u4e2d\U0001f600".encode(),
        b"latin-\xe9\xff",
        b"\xc0\xaf..\xc0\xaf",
        b"\xed\xa0\x80",
        b"e\xcc\x81",
    ],
)
def test_bytes_in_pax_names_are_kept(unpacker, name):
    unpacker.ok(
        tar(
            pax([(b"path", name)]),
            entry(b"f", b"1"),
            pax([(b"path", b"s" + name), (b"linkpath", name)]),
            symlink(b"s", b"x"),
            pax([(b"path", b"h" + name), (b"linkpath", name)]),
            hardlink(b"h", b"x"),
            longname(b"gnu" + name),
            entry(b"g", b"2"),
        )
    )
    assert set(unpacker.tree()) == {name, b"s" + name, b"h" + name, b"gnu" + name}
    assert unpacker.read(b"h" + name) == b"1"
    assert unpacker.tree()[b"s" + name][1] == name


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_tarfile_formats_and_long_names(unpacker, form):
    names = ["d" * 90 + "/" + "f" * 90]
    if form != tarfile.USTAR_FORMAT:
        names += ["/".join(["n" * 200] * 10), "\u00e9" * 120]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, encoding="utf-8") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name)
            archive.addfile(info, io.BytesIO(name[::-1].encode("latin-1", "replace")))
    unpacker.ok(out.getvalue())
    for name in names:
        assert unpacker.read(name.encode()) == name[::-1].encode("latin-1", "replace")


def test_too_long_names_are_errors(unpacker):
    for name in [b"x" * 256, b"a/" * 2500 + b"f", b"x" * 100000]:
        report = unpacker.bad(tar(longname(name), entry(b"f", b"1")))
        assert report.sys_errno == errno.ENAMETOOLONG
        assert "xxx..." in report.message or "a/..." in report.message or "/a..." in report.message


def test_deep_nesting_to_path_max(unpacker):
    name = b"a/" * 2046 + b"f"
    assert len(name) == 4093
    unpacker.ok(
        tar(longname(name), entry(b"f", b"1"), longname(name[:-1] + b"g"), entry(b"f", b"2"))
    )
    unpacker.fresh()


def test_messages_show_no_controls(unpacker):
    report = unpacker.bad(tar(entry(b'\x1b]0;evil\x07\n\xff\xe2\x80\xae"/../x', b"")))
    assert "\\x1b]0;evil\\x07\\x0a\\xff\\xe2\\x80\\xae\\x22" in report.message
    report = unpacker.bad(tar(longname(b"\x01" * 5000 + b"/../x"), entry(b"f", b"")))
    assert len(report.message) < 240 and "..." in report.message


# Symlinks


@pytest.mark.parametrize("target", [b"../outside", b"/tmp", b"dir", b".", b"nowhere", b"link"])
@pytest.mark.parametrize(
    "through",
    [
        entry(b"link/file", b"pwned"),
        header(b"link/new", **DIR),
        symlink(b"link/s", b"x"),
        hardlink(b"link/h", b"ok"),
        hardlink(b"h", b"link/file"),
        entry(b"link/a/b/c", b"pwned"),
    ],
    ids=["file", "directory", "symlink", "hardlink", "hardlink-target", "missing-parents"],
)
def test_no_path_leads_through_a_symlink(unpacker, target, through):
    report = unpacker.bad(
        tar(
            entry(b"ok", b"1"),
            header(b"dir", **DIR),
            entry(b"dir/file", b"1"),
            symlink(b"link", target),
            through,
        )
    )
    assert report.sys_errno == errno.ELOOP
    assert "symbolic link" in report.message
    assert (unpacker.target / "dir" / "file").read_bytes() == b"1"


def test_symlink_chains_and_loops(unpacker):
    chain = [symlink(b"l%d" % i, b"l%d" % (i + 1)) for i in range(50)] + [
        symlink(b"l50", b"../outside")
    ]
    loop = [symlink(b"x", b"y"), symlink(b"y", b"x"), symlink(b"self", b"self")]
    unpacker.ok(tar(*(chain + loop)))
    for name in [b"l0/file", b"l49/file", b"x/f", b"self/f"]:
        unpacker.fresh()
        unpacker.bad(tar(*(chain + loop + [entry(name, b"pwned")])))


def test_symlinks_keep_any_target(unpacker):
    targets = [b"/etc/passwd", b"../../../../outside/file", b"nowhere", b"\xff\n", b"a" * 100]
    unpacker.ok(tar(*[symlink(b"s%d" % i, target) for i, target in enumerate(targets)]))
    assert [unpacker.tree()[b"s%d" % i][1] for i in range(len(targets))] == targets
    assert unpacker.stat("s0").st_mtime == 1000000000


def test_symlink_targets_that_cannot_be(unpacker):
    unpacker.bad(tar(symlink(b"s", b"")))
    report = unpacker.bad(tar(longname(b"t" * 5000, kind=b"K"), symlink(b"s", b"x")))
    assert report.sys_errno == errno.ENAMETOOLONG


@pytest.mark.parametrize("target", [b"../outside/file", b"/etc/passwd", b"ok", b"s"])
def test_a_file_replaces_a_symlink_and_never_follows_it(unpacker, target):
    unpacker.ok(tar(entry(b"ok", b"1"), symlink(b"s", target), entry(b"s", b"new")))
    assert stat.S_ISREG(unpacker.stat("s").st_mode)
    assert unpacker.read("s") == b"new" and unpacker.read("ok") == b"1"


def test_a_directory_replaces_a_symlink(unpacker):
    unpacker.ok(
        tar(
            symlink(b"s", b"../outside"),
            header(b"s", kind=b"5", mode=0o711),
            entry(b"s/file", b"1"),
        )
    )
    assert stat.S_ISDIR(unpacker.stat("s").st_mode) and unpacker.read("s/file") == b"1"


# Replacing


def test_later_entries_replace_earlier_ones(unpacker):
    unpacker.ok(
        tar(
            entry(b"a", b"old, longer", mode=0o400),
            entry(b"h1", b"shared"),
            hardlink(b"h2", b"h1"),
            entry(b"b", b"old"),
            entry(b"c", b"old"),
            entry(b"a", b"new"),
            entry(b"h2", b"own"),
            symlink(b"b", b"x"),
            header(b"c", **DIR),
            entry(b"c/d", b"1"),
        )
    )
    assert unpacker.read("a") == b"new" and unpacker.read("c/d") == b"1"
    assert unpacker.read("h1") == b"shared" and unpacker.read("h2") == b"own"
    assert unpacker.tree()[b"b"][1] == b"x"


@pytest.mark.parametrize(
    "new",
    [entry(b"d", b"1"), symlink(b"d", b"x"), hardlink(b"d", b"ok")],
    ids=["file", "symlink", "hardlink"],
)
def test_nothing_replaces_a_directory(unpacker, new):
    for inside in [b"", entry(b"d/f", b"1")]:
        report = unpacker.bad(tar(entry(b"ok", b"1"), header(b"d", **DIR), inside, new))
        assert report.sys_errno == errno.EISDIR
        unpacker.fresh()


def test_a_second_entry_for_a_directory_wins(unpacker):
    unpacker.ok(
        tar(
            header(b"d", kind=b"5", mode=0, mtime=1),
            entry(b"d/f", b"1"),
            header(b"d/", kind=b"5", mode=0o711, mtime=2),
        )
    )
    assert stat.S_IMODE(unpacker.stat("d").st_mode) == 0o711
    assert unpacker.stat("d").st_mtime == 2


def test_a_path_through_a_file_is_an_error(unpacker):
    assert unpacker.bad(tar(entry(b"f", b"1"), entry(b"f/x", b"1"))).sys_errno == errno.ENOTDIR
    unpacker.fresh()
    assert unpacker.bad(tar(entry(b"f", b"1"), entry(b"f/x/y/z", b"1"))).sys_errno == errno.ENOTDIR


# Hard links


def test_hardlinks(unpacker):
    unpacker.ok(
        tar(
            entry(b"a/f", b"1"),
            hardlink(b"b/g", b"./a//f"),
            hardlink(b"h", b"/b/g"),
            hardlink(b"h", b"h"),
        )
    )
    assert len({unpacker.stat(n).st_ino for n in ("a/f", "b/g", "h")}) == 1
    unpacker.fresh()
    unpacker.ok(
        tar(entry(b"f", b"1"), entry(b"g", b"2"), hardlink(b"g", b"f"), hardlink(b"g", b"f"))
    )
    assert unpacker.read("g") == b"1" and unpacker.stat("f").st_nlink == 2


@pytest.mark.parametrize("target", [b"absent", b"a/absent", b"absent/x", b"x", b"/etc/passwd"])
def test_hardlinks_to_what_is_not_there(unpacker, target):
    report = unpacker.bad(tar(entry(b"a/f", b"1"), hardlink(b"x", target)))
    assert report.sys_errno == errno.ENOENT and "hard link" in report.message


@pytest.mark.parametrize("target", [b"../outside/file", b"a/../../outside/file", b".."])
def test_hardlinks_to_the_outside(unpacker, target):
    unpacker.bad(tar(entry(b"a/f", b"1"), hardlink(b"x", target)))


@pytest.mark.parametrize("target", [b"a", b".", b"", b"/"])
def test_hardlinks_to_directories(unpacker, target):
    report = unpacker.run(tar(entry(b"a/f", b"1"), header(b"x", kind=b"1", link=target)))
    if target == b"":  # to libarchive no hard link at all
        assert report.error in (None, "EBADMSG")
    else:
        assert report.error == "EBADMSG"


def test_a_hardlink_to_a_symlink_does_not_follow_it(unpacker):
    unpacker.ok(tar(symlink(b"s", b"../outside/file"), hardlink(b"h", b"s")))
    assert unpacker.tree()[b"h"][1] == b"../outside/file"
    assert os.stat(str(unpacker.outside / "file")).st_nlink == 1


def test_data_after_a_hardlink_is_not_written(unpacker):
    unpacker.ok(
        tar(
            entry(b"f", b"first"),
            pax([(b"size", b"5")]),
            entry(b"h", b"pwned", kind=b"1", link=b"f"),
            entry(b"g", b"2"),
        )
    )
    assert unpacker.read("f") == b"first" and unpacker.read("g") == b"2"


# Kinds, modes, owners, times


def test_devices_fifos_and_sockets_are_skipped_and_counted(unpacker):
    report = unpacker.ok(
        tar(
            header(b"c", kind=b"3"),
            header(b"b", kind=b"4"),
            header(b"p", kind=b"6"),
            entry(b"f", b"1"),
        )
    )
    assert set(unpacker.tree()) == {b"f"}
    assert report.message.startswith("4 entries, 3 of them skipped")


def test_a_hardlink_to_a_device_is_an_error(unpacker):
    unpacker.bad(tar(header(b"c", kind=b"3"), hardlink(b"h", b"c")))


def test_modes_are_kept(unpacker):
    modes = [
        0,
        0o111,
        0o400,
        0o444,
        0o644,
        0o666,
        0o755,
        0o777,
        0o1777,
        0o2755,
        0o4755,
        0o6711,
        0o7777,
    ]
    parts = [entry(b"f%o" % mode, b"data", mode=mode) for mode in modes]
    parts += [header(b"d%o" % mode, kind=b"5", mode=mode) for mode in modes]
    parts += [entry(b"d%o/f" % mode, b"1") for mode in modes]
    unpacker.ok(tar(*parts), before=lambda: os.umask(0o077))
    for mode in modes:
        assert stat.S_IMODE(unpacker.stat("f%o" % mode).st_mode) == mode
        assert stat.S_IMODE(unpacker.stat("d%o" % mode).st_mode) == mode


def test_closed_directories_as_an_ordinary_user(unpacker):
    archive = tar(
        header(b".", kind=b"5", mode=0o555),
        header(b"d", kind=b"5", mode=0o555, mtime=11),
        header(b"d/e", kind=b"5", mode=0, mtime=12),
        header(b"d/e/f", kind=b"5", mode=0o100, mtime=13),
        entry(b"d/e/f/file", b"1", mode=0, uid=1, gid=1),
        header(b"d-e", kind=b"5", mode=0),
    )
    if os.geteuid() == 0:
        os.chown(str(unpacker.target), 65534, 65534)
        report = unpacker.run(
            archive,
            ids=65536,
            before=lambda: (os.setgroups([]), os.setgid(65534), os.setuid(65534)),
        )
    else:
        report = unpacker.run(archive, ids=65536)
    assert report.error is None, report
    if os.geteuid() != 0:
        assert stat.S_IMODE(unpacker.stat("d/e").st_mode) == 0
        unpacker.fresh()
        return
    found = unpacker.tree()
    assert [stat.S_IMODE(found[n][0]) for n in (b"d", b"d/e", b"d/e/f", b"d/e/f/file")] == [
        0o555,
        0,
        0o100,
        0,
    ]
    assert [found[n][2] // 10**9 for n in (b"d", b"d/e", b"d/e/f")] == [11, 12, 13]
    assert unpacker.stat("d/e/f/file").st_uid == 65534


OWNED = tar(
    header(b"d", kind=b"5", mode=0o2755, uid=1, gid=2),
    entry(b"d/f", b"1", mode=0o4755, uid=3, gid=4),
    header(b"d/s", kind=b"2", link=b"x", uid=5, gid=6),
    entry(b"d/last", b"1", uid=65535, gid=65535),
    entry(b"d/big", b"1", uid=65536, gid=2097151),
    pax([(b"uid", b"-1"), (b"gid", b"99999999999999999999")]),
    entry(b"d/odd", b"1"),
    entry(b"d/root", b"1"),
)


def owners(unpacker):
    return {n.decode(): (unpacker.stat(n).st_uid, unpacker.stat(n).st_gid) for n in unpacker.tree()}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can chown; tested as root")
def test_owners_with_many_ids(unpacker):
    unpacker.ok(OWNED, ids=65536)
    assert owners(unpacker) == {
        "d": (1, 2),
        "d/f": (3, 4),
        "d/s": (5, 6),
        "d/last": (65535, 65535),
        "d/big": (0, 0),
        "d/odd": (0, 0),
        "d/root": (0, 0),
    }
    assert stat.S_IMODE(unpacker.stat("d").st_mode) == 0o2755
    assert stat.S_IMODE(unpacker.stat("d/f").st_mode) == 0o4755


def test_owners_with_one_id(unpacker):
    unpacker.ok(OWNED, ids=1)
    assert set(owners(unpacker).values()) == {(os.geteuid(), os.getegid())}
    assert stat.S_IMODE(unpacker.stat("d/f").st_mode) == 0o4755


def test_times(unpacker):
    unpacker.ok(
        tar(
            entry(b"f", b"1", mtime=1),
            header(b"d", kind=b"5", mode=0o755, mtime=2),
            entry(b"d/f", b"1", mtime=3),
            pax([(b"mtime", b"1234567890.123456789")]),
            entry(b"pax", b"1"),
            pax([(b"mtime", b"99999999999999999999999")]),
            entry(b"far", b"1"),
            pax([(b"mtime", b"-5.5")]),
            entry(b"before", b"1"),
            entry(b"garbage", b"1", mtime_field=b"zzzzzzzzzzzz"),
        )
    )
    assert [unpacker.stat(n).st_mtime for n in ("f", "d", "d/f")] == [1, 2, 3]
    assert unpacker.stat("pax").st_mtime_ns == 1234567890123456789


def test_xattrs_and_acls_are_not_restored(unpacker):
    records = [
        (b"SCHILY.xattr.user.x", b"1"),
        (b"SCHILY.xattr.security.capability", b"\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        (b"LIBARCHIVE.xattr.user.y", b"MQ=="),
        (b"SCHILY.acl.access", b"user::rw-,user:1:rwx,group::---,mask::rwx,other::---"),
        (b"SCHILY.fflags", b"immutable,append"),
    ]
    unpacker.ok(tar(pax(records), entry(b"f", b"1", mode=0o600)))
    assert os.listxattr(str(unpacker.target / "f")) == []
    assert stat.S_IMODE(unpacker.stat("f").st_mode) == 0o600


def test_oci_whiteouts_are_plain_files(unpacker):
    unpacker.ok(tar(entry(b"d/x", b"1"), entry(b"d/.wh.x"), entry(b"d/.wh..wh..opq")))
    assert set(unpacker.tree()) == {b"d", b"d/x", b"d/.wh.x", b"d/.wh..wh..opq"}


@pytest.mark.parametrize("kind", [b"7", b"Z", b"\0", b"9"])
def test_unknown_types_are_files(unpacker, kind):
    unpacker.ok(tar(entry(b"f", b"12345", kind=kind), entry(b"g", b"2")))
    assert unpacker.read("f") == b"12345" and unpacker.read("g") == b"2"

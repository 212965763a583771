# SPDX-License-Identifier: MIT
"""Bombs and absurd numbers: one clean error, in bounded time and memory."""

import bz2
import errno
import gzip
import lzma
import struct
import subprocess
import zlib

import pytest
from unpacker import (
    MARKER,
    STAGE_UNPACK,
    entry,
    header,
    longname,
    padded,
    pax,
    skip,
    tar,
)

MIB = 1 << 20
SMALL = tar(
    header(b"d", kind=b"5", mode=0o755),
    entry(b"d/f", b"hello, world\n"),
    header(b"l", kind=b"2", link=b"d/f"),
)


# Absurd numbers


@pytest.mark.parametrize(
    "size",
    [
        b"777777777777",
        b"\x80\0\0\0\x7f" + b"\xff" * 7,
        b"\xff" * 12,
        b"\x80" + b"\xff" * 11,
        b"zzzzzzzzzzz\0",
        b"-0000000001\0",
        b" " * 12,
        b"\0" * 12,
        b"99999999999\0",
    ],
)
@pytest.mark.parametrize("kind", [b"0", b"S", b"x", b"g", b"L", b"K", b"5", b"7"])
def test_absurd_sizes(unpacker, size, kind):
    archive = (
        entry(b"ok", b"1") + header(b"f", kind=kind, size_field=size) + padded(b"data") + MARKER
    )
    report = unpacker.run(archive, rss_max=64 * MIB)
    assert report.error in (None, "EBADMSG", "EFBIG", "EINVAL")
    assert sum(what for _, what, _ in unpacker.tree().values() if isinstance(what, int)) < 2000


@pytest.mark.parametrize(
    "value",
    [
        b"9223372036854775807",
        b"99999999999999999999999",
        b"-1",
        b"-9223372036854775808",
        b"garbage",
        b"",
        b"0x10",
        b"17179869185",
    ],
)
def test_absurd_pax_sizes(unpacker, value):
    report = unpacker.run(
        tar(entry(b"ok", b"1"), pax([(b"size", value)]), entry(b"f", b"data")), rss_max=64 * MIB
    )
    assert report.error in (None, "EBADMSG", "EFBIG")


def gnu_sparse(name, real, parts, data):
    """An old GNU sparse entry: up to four (offset, size) in its header."""
    block = bytearray(header(name, len(data), kind=b"S", magic=b"ustar  \0"))
    for i, (offset, size) in enumerate(parts):
        block[386 + 24 * i : 410 + 24 * i] = b"%011o\0%011o\0" % (offset, size)
    block[483:495] = b"%011o\0" % real if real < 8**11 else struct.pack(">BxxxQ", 0x80, real)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + padded(data)


def pax_sparse(name, real, parts, data, version=(1, 0)):
    if version == (1, 0):
        table = padded(
            b"".join(b"%d\n" % n for n in [len(parts)] + [n for part in parts for n in part])
        )
        records = [
            (b"GNU.sparse.major", b"1"),
            (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.name", name),
        ]
        return pax(records + [(b"GNU.sparse.realsize", b"%d" % real)]) + entry(
            b"GNUSparseFile.0/f", table + data
        )
    table = b",".join(b"%d,%d" % part for part in parts)
    records = [
        (b"GNU.sparse.size", b"%d" % real),
        (b"GNU.sparse.numblocks", b"%d" % len(parts)),
        (b"GNU.sparse.map", table),
    ]
    return pax(records) + entry(name, data)


@pytest.mark.parametrize(
    "make",
    [gnu_sparse, pax_sparse, lambda *a: pax_sparse(*a, version=(0, 1))],
    ids=["gnu", "pax-1.0", "pax-0.1"],
)
class TestSparse:
    def test_holes_stay_holes(self, unpacker, make):
        unpacker.ok(
            tar(
                make(
                    b"f",
                    50 * MIB,
                    [(0, 512), (40 * MIB, 512), (50 * MIB, 0)],
                    b"a" * 512 + b"b" * 512,
                ),
                entry(b"g", b"1"),
            )
        )
        data = unpacker.read("f")
        assert len(data) == 50 * MIB
        assert (
            data[:512] == b"a" * 512
            and data[40 * MIB :][:512] == b"b" * 512
            and data.count(b"\0") == 50 * MIB - 1024
        )
        assert unpacker.stat("f").st_blocks * 512 < MIB
        assert unpacker.read("g") == b"1"

    @pytest.mark.parametrize("real", [2**63 - 1, 2**62, 17 << 30])
    def test_absurd_real_sizes(self, unpacker, make, real):
        report = unpacker.run(tar(make(b"f", real, [(0, 5)], b"hello")))
        assert report.error in ("EFBIG", "EBADMSG")

    @pytest.mark.parametrize(
        "part", [(2**62, 5), (2**63 - 3, 5), (100, 2**63 - 1), (2**40, 5), (10, 5)]
    )
    def test_data_beyond_the_end(self, unpacker, make, part):
        report = unpacker.run(
            tar(
                make(
                    b"f",
                    10,
                    [
                        (0, 0),
                        (min(part[0], 8**11 - 1), min(part[1], 8**11 - 1))
                        if make is gnu_sparse
                        else part,
                    ],
                    b"hello",
                )
            )
        )
        assert report.error in ("EFBIG", "EBADMSG")
        assert sum(what for _, what, _ in unpacker.tree().values()) <= 10

    def test_overlapping_and_backward_parts(self, unpacker, make):
        report = unpacker.run(
            tar(make(b"f", 2000, [(1000, 5), (0, 5), (1002, 5)], b"helloHELLOworld"))
        )
        assert report.error in (None, "EBADMSG")


def test_sparse_garbage(unpacker):
    for records in [
        [(b"GNU.sparse.map", b"1,2,3")],
        [(b"GNU.sparse.map", b"-1,5")],
        [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0")],
        [(b"GNU.sparse.major", b"7"), (b"GNU.sparse.minor", b"7")],
        [(b"GNU.sparse.offset", b"5"), (b"GNU.sparse.numbytes", b"99999999999999999999")],
        [(b"GNU.sparse.realsize", b"-5")],
        [(b"SUN.holesdata", b" 0 5 9223372036854775807")],
    ]:
        report = unpacker.run(tar(pax(records), entry(b"f", b"hello")))
        assert report.error in (None, "EBADMSG", "EFBIG"), (records, report)
        unpacker.fresh()


def test_a_sparse_map_of_many_parts_is_bounded(unpacker):
    table = b"100000000\n" + b"0\n0\n" * 5000000
    records = [
        (b"GNU.sparse.major", b"1"),
        (b"GNU.sparse.minor", b"0"),
        (b"GNU.sparse.realsize", b"100"),
    ]
    archive = gzip.compress(tar(entry(b"ok"), pax(records), entry(b"f", padded(table))), 1)
    report = unpacker.run(archive, rss_max=800 * MIB)
    assert report.error in ("ENOMEM", "EBADMSG")


# Special headers


def test_pax_overrides(unpacker):
    unpacker.ok(
        tar(
            pax([(b"path", b"real"), (b"size", b"5"), (b"comment", b"x" * 1000)]),
            header(b"fake", 0) + padded(b"hello"),
            pax([(b"mtime", b"5")], kind=b"g"),
            entry(b"plain", b"1"),
        )
    )
    assert set(unpacker.tree()) == {b"real", b"plain"} and unpacker.read("real") == b"hello"


@pytest.mark.parametrize(
    "body",
    [
        b"5 a=b\n",
        b"99999999 a=b\n",
        b"6 =bcd\n",
        b"garbage",
        b"0 a=b\n",
        b"7 abcd\n",
        b"\xff" * 600,
    ],
)
def test_malformed_pax_headers_are_errors(unpacker, body):
    unpacker.bad(tar(entry(b"ok", b"1"), entry(b"pax", body, kind=b"x"), entry(b"f", b"data")))


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_special_headers_without_an_entry(unpacker, kind):
    report = unpacker.run(
        tar(
            entry(b"ok", b"1"),
            entry(b"s", b"12 path=abc\n" if kind in b"xg" else b"name\0", kind=kind),
        )
    )
    assert report.error == "EBADMSG"
    unpacker.fresh()
    report = unpacker.run(
        entry(b"ok", b"1")
        + entry(b"s", b"12 path=abc\n" if kind in b"xg" else b"name\0", kind=kind)
    )
    assert report.error == "EBADMSG"


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K", b"V"])
def test_endless_special_headers(unpacker, kind):
    one = (
        entry(b"s", b"12 path=abc\n" if kind in b"xg" else b"name\0", kind=kind)
        if kind != b"V"
        else header(b"v", kind=kind)
    )
    unpacker.bad(gzip.compress(tar(entry(b"ok", b"1"), one * 200000), 1), rss_max=64 * MIB)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_huge_special_headers(unpacker, kind):
    body = b"%d path=" % (100 * MIB) + b"x" * (100 * MIB - 16) + b"\n"
    archive = tar(
        entry(b"ok", b"1"), header(b"s", len(body), kind=kind), padded(body), entry(b"f", b"1")
    )
    unpacker.bad(gzip.compress(archive, 1), rss_max=64 * MIB)


def test_one_directory_named_again_and_again(unpacker):
    one = header(b"d", kind=b"5", mode=0o755)
    unpacker.ok(gzip.compress(tar(one * 100000), 1), rss_max=64 * MIB)
    bomb = gzip.compress(one * 10000, 1) * 160 + gzip.compress(MARKER)
    report = unpacker.bad(bomb, "ENOMEM", rss_max=256 * MIB)
    assert "too many directories" in report.message


# Bombs


@pytest.fixture
def capped(unpacker):
    """An unpacker whose target is a tmpfs of 32 MiB and 500 inodes, in its own mount namespace."""
    script = 'mount -t tmpfs -o size=32m,nr_inodes=500 tmpfs "$PWD" && cd "$PWD" && exec "$@" && :'
    wrap = ["unshare", "-rm", "sh", "-c", script, "sh"]
    try:
        probe = subprocess.run(
            wrap + ["true"],
            cwd=str(unpacker.target),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except FileNotFoundError:
        skip("no unshare(1)")
    if probe.returncode != 0:
        skip("unshare -rm and a tmpfs: " + probe.stdout.decode(errors="replace").strip())

    return lambda archive, error: unpacker.bad(archive, error, wrap=wrap, rss_max=128 * MIB)


def compress_zeros(before, size, after, compressor):
    """`size` zeros between two pieces of a tar, without ever holding them."""
    out = [compressor.compress(before)]
    block = bytes(MIB)
    while size > 0:
        out.append(compressor.compress(block[:size]))
        size -= len(block)
    out += [compressor.compress(after), compressor.flush()]
    return b"".join(out)


def compressors():
    return {
        "xz": lzma.LZMACompressor(preset=0),
        "gzip": zlib.compressobj(9, zlib.DEFLATED, 31),
        "bzip2": bz2.BZ2Compressor(9),
    }


@pytest.mark.parametrize("how", sorted(compressors()))
def test_bomb_of_one_file(capped, how):
    size = 1 << 30
    bomb = compress_zeros(header(b"bomb", size), size, MARKER, compressors()[how])
    report = capped(bomb, "ENOSPC")
    assert (
        "raise rootfs_bytes or rootfs_inodes" in report.message and report.sys_errno == errno.ENOSPC
    )


def test_bomb_of_ten_gigabytes(capped):
    """One file of 10 GiB of zeros in 1.5 MB."""
    piece = lzma.compress(bytes(64 * MIB), preset=0)
    name = pax([(b"size", b"%d" % (10 << 30))])
    bomb = lzma.compress(name + header(b"bomb", 0)) + piece * 160 + lzma.compress(MARKER)
    assert len(bomb) < 2 * MIB
    assert capped(bomb, "ENOSPC").stage == STAGE_UNPACK


def test_bomb_of_many_files(capped):
    files = b"".join(header(b"f%d" % i) for i in range(1000))
    report = capped(tar(files), "ENOSPC")
    assert '"f4' in report.message


def test_bomb_of_many_directories(capped):
    capped(tar(b"".join(header(b"d%d" % i, kind=b"5") for i in range(1000))), "ENOSPC")
    capped(tar(longname(b"a/" * 1000 + b"f"), entry(b"f", b"1")), "ENOSPC")


def test_bomb_of_sparse_parts(capped):
    parts = [(4096 * i, 1) for i in range(20000)]
    capped(tar(pax_sparse(b"f", 4096 * 20000, parts, b"x" * 20000)), "ENOSPC")


def test_bomb_that_is_no_tar(unpacker):
    zeros = lzma.compress(bytes(64 * MIB), preset=0) * 160
    assert "no entries" in unpacker.bad(zeros, "EINVAL").message
    ones = zlib.compressobj(9, zlib.DEFLATED, 31)
    unpacker.bad(
        b"".join([ones.compress(b"\1" * MIB) for _ in range(1024)] + [ones.flush()]), "EINVAL"
    )


def test_bomb_behind_the_marker(unpacker):
    piece = lzma.compress(bytes(64 * MIB), preset=0)
    assert "follows its end" in unpacker.bad(lzma.compress(SMALL) + piece * 160).message


def test_bomb_of_data_that_is_skipped(unpacker):
    """A hard link's body makes no inode and no data: the cap on decoded bytes ends it."""
    size = pax([(b"size", b"%d" % (4 << 30))])
    link = size + header(b"h", kind=b"1", link=b"f")
    bomb = lzma.compress(entry(b"f", b"1") + link) + lzma.compress(bytes(64 * MIB), preset=0) * 64
    report = unpacker.run(bomb, args=[512, 256])
    assert report.error in ("EFBIG", "EBADMSG")


def test_the_cap_on_decoded_bytes(unpacker):
    archive = tar(*[entry(b"f%d" % i, bytes(MIB // 2)) for i in range(5)])
    report = unpacker.bad(lzma.compress(archive), "EFBIG", args=[512, 2])
    assert "more than 2 MiB" in report.message
    unpacker.fresh()
    unpacker.ok(lzma.compress(archive), args=[512, 3])
    unpacker.fresh()
    unpacker.bad(tar(entry(b"f", bytes(3 * MIB))), "EFBIG", args=[512, 2])


def test_a_huge_dictionary(unpacker):
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20}]
    data = bytearray(lzma.compress(SMALL, filters=filters))
    # Patch the dictionary size in the header of the first block, and the CRC32 at its end.
    length = (data[12] + 1) * 4
    at = data.index(b"\x21\x01", 12, 12 + length) + 2
    data[at] = 40  # 4 GiB - 1
    data[12 + length - 4 : 12 + length] = struct.pack(
        "<I", zlib.crc32(bytes(data[12 : 12 + length - 4]))
    )
    report = unpacker.bad(bytes(data), "ENOMEM", rss_max=64 * MIB)
    assert "memory" in report.message
    unpacker.bad(lzma.compress(SMALL, preset=9), "ENOMEM", args=[16])
    unpacker.ok(lzma.compress(SMALL, preset=9), args=[80])


def test_a_huge_zstd_window(unpacker):
    frame = (
        struct.pack("<IBB", 0xFD2FB528, 0, 0xF8)
        + struct.pack("<I", len(SMALL) << 3 | 1)[:3]
        + SMALL
    )
    unpacker.bad(frame, rss_max=64 * MIB)


def test_xz_without_a_check_and_with_an_unknown_one(unpacker):
    unpacker.ok(lzma.compress(SMALL, check=lzma.CHECK_NONE))
    unpacker.fresh()
    data = bytearray(lzma.compress(SMALL, check=lzma.CHECK_CRC32))
    data[7] = 2  # reserved
    data[8:12] = struct.pack("<I", zlib.crc32(bytes(data[6:8])))
    unpacker.bad(bytes(data))


def test_inodes_are_capped_where_the_target_has_no_cap(unpacker):
    """Files, symbolic links, directories, and those that are missing on the way, each once."""
    archive = tar(
        header(b"d", kind=b"5"), entry(b"d/f", b"1"), header(b"l", kind=b"2", link=b"f"), header(b"a/b/f")
    )
    capped = ("512", "16384")
    unpacker.ok(archive, args=(*capped, "6"))
    unpacker.fresh()
    report = unpacker.bad(archive, "ENOSPC", args=(*capped, "5"))
    assert "a/b/f" in report.message and "raise rootfs_bytes or rootfs_inodes" in report.message

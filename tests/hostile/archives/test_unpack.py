# SPDX-License-Identifier: MIT
"""Compressions, and damage to them: success or one clean error."""

import errno
import gzip
import lzma
import os
import random
import struct
import subprocess

import pytest
from unpacker import (
    COMPRESS,
    MARKER,
    STAGE_ROOTFS,
    STAGE_UNPACK,
    entry,
    header,
    padded,
    tar,
)

MIB = 1 << 20
SMALL = tar(
    header(b"d", kind=b"5", mode=0o755),
    entry(b"d/f", b"hello, world\n"),
    header(b"l", kind=b"2", link=b"d/f"),
)


def check_small(unpacker):
    assert set(unpacker.tree()) == {b"d", b"d/f", b"l"}
    assert unpacker.read("d/f") == b"hello, world\n"


def big():
    """Some 3 MB in 300 files, which compress somewhat."""
    rng = random.Random(1)
    words = [bytes(rng.getrandbits(8) for _ in range(8)) for _ in range(500)]
    files = {
        b"dir%d/file%d" % (i % 7, i): b"".join(rng.choices(words, k=rng.randrange(2500)))
        for i in range(300)
    }
    return files, tar(*[entry(name, data) for name, data in files.items()])


# Compressions


@pytest.mark.parametrize("pipe", [False, True], ids=["file", "pipe"])
@pytest.mark.parametrize("how", sorted(COMPRESS))
def test_every_compression(unpacker, how, pipe):
    files, archive = big()
    unpacker.ok(COMPRESS[how](archive), pipe=pipe)
    assert {name: unpacker.read(name) for name in files} == files


@pytest.mark.parametrize("tool", ["zstd", "lz4", "xz", "bzip2", "gzip"])
def test_what_the_tools_make(unpacker, tool):
    files, archive = big()
    args = {"xz": ["-T2", "--block-size=256KiB"], "zstd": ["-19"]}.get(tool, [])
    try:
        data = subprocess.run(
            [tool, "-c"] + args, input=archive, stdout=subprocess.PIPE, check=True
        ).stdout
    except FileNotFoundError:
        pytest.skip(tool + " is not installed")
    unpacker.ok(data)
    assert {name: unpacker.read(name) for name in files} == files


def test_reads_from_the_current_offset(unpacker, tmp_path):
    path = tmp_path / "archive"
    path.write_bytes(b"something else" + COMPRESS["xz"](SMALL))
    with open(str(path), "rb", buffering=0) as stream:
        stream.seek(14)
        unpacker.ok(stream)
    check_small(unpacker)


def test_a_memfd(unpacker):
    if not hasattr(os, "memfd_create"):
        pytest.skip("no os.memfd_create")
    with os.fdopen(os.memfd_create("archive"), "w+b", buffering=0) as stream:
        stream.write(COMPRESS["gzip"](SMALL))
        stream.seek(0)
        unpacker.ok(stream)
    check_small(unpacker)


@pytest.mark.parametrize("how", sorted(set(COMPRESS) - {"plain"}))
def test_concatenated_streams(unpacker, how):
    files, archive = big()
    half = len(archive) // 2 + 77
    unpacker.ok(COMPRESS[how](archive[:half]) + COMPRESS[how](archive[half:]))
    assert {name: unpacker.read(name) for name in files} == files


def test_stream_padding(unpacker):
    unpacker.ok(lzma.compress(SMALL[:1000]) + bytes(64) + lzma.compress(SMALL[1000:]) + bytes(4))
    check_small(unpacker)
    unpacker.fresh()
    unpacker.bad(lzma.compress(SMALL) + bytes(3))
    unpacker.fresh()
    unpacker.ok(gzip.compress(SMALL) + bytes(5000))
    unpacker.fresh()
    unpacker.bad(gzip.compress(SMALL) + bytes(2 * MIB))


@pytest.mark.parametrize("how", sorted(COMPRESS))
@pytest.mark.parametrize(
    "garbage", [b"G", b"garbage garbage", b"\0\0\0\0\0x", bytes(range(256)) * 2048]
)
def test_trailing_garbage_is_an_error(unpacker, how, garbage):
    report = unpacker.bad(COMPRESS[how](SMALL) + garbage)
    assert report.stage == STAGE_UNPACK


def test_zeros_behind_the_marker_are_fine_and_bounded(unpacker):
    unpacker.ok(SMALL + bytes(10240))
    unpacker.fresh()
    unpacker.ok(lzma.compress(SMALL + bytes(MIB)))
    unpacker.fresh()
    unpacker.bad(lzma.compress(SMALL + bytes(20 * MIB)))


def test_data_behind_the_marker_is_an_error(unpacker):
    for garbage in [b"x", bytes(100000) + b"x", SMALL]:
        unpacker.fresh()
        report = unpacker.bad(SMALL + garbage)
        assert "follows its end-of-archive marker" in report.message


@pytest.mark.parametrize("inner", ["gzip", "bzip2", "xz", "zstd", "lz4"])
@pytest.mark.parametrize("outer", ["gzip", "bzip2", "xz", "zstd", "lz4"])
def test_only_one_compression_is_taken_off(unpacker, outer, inner):
    report = unpacker.bad(COMPRESS[outer](COMPRESS[inner](SMALL)), "EINVAL")
    assert report.stage == STAGE_ROOTFS
    assert unpacker.tree() == {}


def test_unsupported_compressions_and_archives(unpacker):
    zip_file = b"PK\3\4" + bytes(1000)
    cpio = b"070701" + b"0" * 104 + b"TRAILER!!!\0" + bytes(512)
    for data in [
        lzma.compress(SMALL, lzma.FORMAT_ALONE),
        b"\x1f\x9d\x90" + bytes(600),
        zip_file,
        cpio,
        b"!<arch>\n" + bytes(600),
    ]:
        assert unpacker.bad(data, "EINVAL").stage == STAGE_ROOTFS


# Not archives at all


def test_empty_input(unpacker):
    assert unpacker.bad(b"", "EINVAL").stage == STAGE_ROOTFS
    unpacker.bad(b"", "EINVAL", pipe=True)


@pytest.mark.parametrize("how", sorted(COMPRESS))
def test_an_archive_without_entries(unpacker, how):
    for data in [b"", MARKER, bytes(10240)]:
        if how != "plain" or data:
            report = unpacker.bad(COMPRESS[how](data), "EINVAL")
            assert report.stage == STAGE_ROOTFS


def test_random_bytes(unpacker):
    rng = random.Random(2)
    magics = [
        b"",
        b"\xfd7zXZ\0",
        b"\x1f\x8b\x08",
        b"BZh9",
        b"BZh91AY&SY",
        b"\x28\xb5\x2f\xfd",
        b"\x04\x22\x4d\x18",
        b"\xfd7zXZ\0\0\4\xe6\xd6\xb4\x46",
    ]
    for size in [1, 5, 16, 100, 511, 512, 1024, 5000, 100000]:
        for magic in magics:
            data = magic + bytes(rng.getrandbits(8) for _ in range(size))
            report = unpacker.run(data)
            assert report.error in ("EINVAL", "EBADMSG", "ENOMEM"), (size, magic, report)
            assert unpacker.tree() == {}


def test_a_directory_or_a_closed_fd_as_archive(unpacker):
    with open(os.devnull, "rb") as null:
        unpacker.bad(null, "EINVAL")
    assert unpacker.run(b"", before=lambda: os.close(0)).error == "EBADF"
    assert unpacker.run(b"", before=lambda: os.dup2(os.open("/", os.O_RDONLY), 0)).error == "EISDIR"


@pytest.mark.parametrize(
    "args",
    [["x"], ["512", "0"], ["-1"], ["512", "1", "0"], ["512", "1", "1", "1"], ["1e3"], [""], ["99999999999999999999"]],
)
def test_bad_arguments(unpacker, args):
    result = subprocess.run(
        [unpacker.program, "1"] + args,
        stdin=subprocess.DEVNULL,
        cwd=str(unpacker.target),
        preexec_fn=lambda: os.dup2(2, 3),
        pass_fds=(3,),
        stderr=subprocess.PIPE,
    )
    assert result.returncode == 1
    assert struct.unpack_from("<Iiii", result.stderr) == (256, -errno.EINVAL, 0, 3)


def test_without_a_report_fd_nothing_is_done(unpacker):
    result = subprocess.run([unpacker.program, "1"], input=SMALL, cwd=str(unpacker.target))
    assert result.returncode == 1
    assert unpacker.tree() == {}


# Damage


@pytest.mark.parametrize("how", sorted(COMPRESS))
def test_cut_anywhere(unpacker, how):
    data = COMPRESS[how](SMALL)
    step = 17 if len(data) > 2000 else 1
    for size in sorted(
        set(range(1, len(data), step)) | {512, 1024, 1536, 2048, 2560, len(data) - 1}
    ):
        if size < len(data):
            report = unpacker.run(data[:size], pipe=size % 2 == 1)
            assert report.error in ("EBADMSG", "EINVAL"), (size, report)
            unpacker.fresh()


@pytest.mark.parametrize("how", sorted(COMPRESS))
def test_a_tar_cut_inside_intact_compression(unpacker, how):
    for size in sorted(set(range(1, len(SMALL), 151)) | {512, 1024, 1536, 2048, 2560}):
        report = unpacker.run(COMPRESS[how](SMALL[:size]))
        assert report.error == ("EBADMSG" if size >= 512 else "EINVAL"), (size, report)
        unpacker.fresh()


def test_a_big_archive_cut(unpacker):
    _, archive = big()
    data = COMPRESS["xz"](archive)
    for part in range(1, 10):
        unpacker.bad(data[: len(data) * part // 10])
        unpacker.fresh()


@pytest.mark.parametrize("how", ["xz", "gzip", "bzip2"])
def test_each_byte_flipped_where_there_is_a_checksum(unpacker, how):
    data = COMPRESS[how](SMALL)
    for i in range(len(data)):
        flipped = bytearray(data)
        flipped[i] ^= 1 << (i % 8) if i % 3 else 0xFF
        report = unpacker.run(bytes(flipped))
        if report.error is None:  # time, system and such in the header of gzip; bzip2's block size
            assert how != "xz" and i < 10, (i, report)
            check_small(unpacker)
        else:
            assert report.error in ("EBADMSG", "EINVAL", "ENOMEM"), (i, report)
        unpacker.fresh()


@pytest.mark.parametrize("how", ["plain", "zstd", "lz4"])
def test_each_byte_flipped_where_there_is_none(unpacker, how):
    archive = entry(b"d/f", b"hello, world\n") + header(b"l", kind=b"1", link=b"d/f") + MARKER
    data = COMPRESS[how](archive)
    for i in range(len(data)):
        if how != "plain" and 64 <= i < len(data) - 64:
            continue  # stored as it is: the same as plain
        flipped = bytearray(data)
        flipped[i] ^= 1 << (i % 8)
        report = unpacker.run(bytes(flipped))
        assert report.error in (None, "EBADMSG", "EINVAL", "EFBIG", "ENOMEM"), (i, report)
        unpacker.fresh()


def test_headers_full_of_noise(unpacker):
    """Valid checksums around random fields, pax records and sparse maps: no crash, no hang."""
    rng = random.Random(3)
    for _ in range(600):
        parts = []
        for _ in range(rng.randrange(1, 6)):
            block = bytearray(
                header(
                    b"n%d" % rng.randrange(9),
                    rng.choice([0, 0, 5, 512]),
                    kind=rng.choice(
                        [
                            b"0",
                            b"1",
                            b"2",
                            b"5",
                            b"L",
                            b"K",
                            b"x",
                            b"g",
                            b"S",
                            b"V",
                            b"M",
                            b"A",
                            b"D",
                            b"X",
                        ]
                    ),
                )
            )
            for _ in range(rng.randrange(8)):
                block[rng.randrange(512)] = rng.choice(
                    [0, 0x20, 0x2F, 0x30, 0x37, 0x80, 0xFF, rng.randrange(256)]
                )
            block[148:156] = b" " * 8
            block[148:156] = b"%06o\0 " % sum(block)
            parts.append(
                bytes(block)
                + padded(
                    bytes(
                        rng.choice(b"0123456789 =\n,./path") for _ in range(rng.choice([0, 5, 512]))
                    )
                )
            )
        report = unpacker.run(tar(*parts))
        assert report.error in (None, "EBADMSG", "EINVAL", "EFBIG", "ENOMEM"), report
        unpacker.fresh()

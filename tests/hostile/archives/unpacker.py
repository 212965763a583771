# SPDX-License-Identifier: MIT
"""Run guest-unpack on an archive and judge its report; make archives that no tar(1) would make.

The path of the program comes from the environment variable GUEST_UNPACK. Where it is missing the
tests are skipped, or fail if GUEST_TEST_MUST_WORK=1. GUEST_UNPACK_SANITIZED=1 says that it is a
build with sanitizers, whose memory is not to be judged.
"""

import bz2
import errno
import gzip
import lzma
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import threading

import pytest

STAGE_ROOTFS = 14
STAGE_UNPACK = 15
MARKER = bytes(1024)
TIMEOUT = 120.0


def skip(reason):
    """Skip, or fail where a skip is a failure."""
    if os.environ.get("GUEST_TEST_MUST_WORK") == "1":
        pytest.fail("must work here: " + reason)
    pytest.skip(reason)


def program():
    path = os.environ.get("GUEST_UNPACK")
    if not path:
        skip("GUEST_UNPACK is not set to the path of guest-unpack")
    if not os.access(path, os.X_OK):
        skip("GUEST_UNPACK: cannot execute " + path)
    return os.path.abspath(path)


# Making archives


def header(name, size=0, kind=b"0", link=b"", mode=0o644, uid=0, gid=0, mtime=1000000000, **fields):
    """One ustar header block. `fields`: raw bytes for size_field, mtime_field, magic, prefix..."""
    block = bytearray(512)

    def put(offset, width, data):
        assert len(data) <= width, (offset, data)
        block[offset : offset + len(data)] = data

    put(0, 100, name)
    put(100, 8, fields.get("mode_field", b"%07o\0" % mode))
    put(108, 8, b"%07o\0" % uid)
    put(116, 8, b"%07o\0" % gid)
    put(124, 12, fields.get("size_field", b"%011o\0" % size))
    put(136, 12, fields.get("mtime_field", b"%011o\0" % mtime))
    put(148, 8, b" " * 8)
    put(156, 1, kind)
    put(157, 100, link)
    put(257, 8, fields.get("magic", b"ustar\x0000"))
    put(345, 155, fields.get("prefix", b""))
    put(148, 8, b"%06o\0 " % sum(block))
    return bytes(block)


def padded(data):
    return data + bytes(-len(data) % 512)


def entry(name, data=b"", **fields):
    return header(name, len(data), **fields) + padded(data)


def pax(records, kind=b"x"):
    """A pax extended header (or a global one: kind b"g") from a list of (key, value)."""
    body = b""
    for key, value in records:
        line = b" " + key + b"=" + value + b"\n"
        length = len(line)
        while len(b"%d" % length) + len(line) != length:
            length = len(b"%d" % length) + len(line)
        body += b"%d" % length + line
    return entry(b"pax", body, kind=kind)


def longname(name, kind=b"L"):
    return entry(b"././@LongLink", name + b"\0", kind=kind, magic=b"ustar  \0")


def tar(*parts):
    return b"".join(parts) + MARKER


def xxh32(data, seed=0):
    """xxHash32, for the header checksum of lz4 frames (data shorter than 16 bytes)."""
    p2, p3, p4, p5, mask = 2246822519, 3266489917, 668265263, 374761393, 0xFFFFFFFF
    p1 = 2654435761
    assert len(data) < 16
    h = (seed + p5 + len(data)) & mask
    while len(data) >= 4:
        h = (h + struct.unpack_from("<I", data)[0] * p3) & mask
        h = (((h << 17) | (h >> 15)) * p4) & mask
        data = data[4:]
    for byte in data:
        h = (h + byte * p5) & mask
        h = (((h << 11) & mask | (h >> 21)) * p1) & mask
    h = ((h ^ (h >> 15)) * p2) & mask
    h = ((h ^ (h >> 13)) * p3) & mask
    return h ^ (h >> 16)


def lz4_store(data):
    """An lz4 frame of uncompressed blocks of at most 64 KiB."""
    descriptor = b"\x60\x40"
    out = struct.pack("<I", 0x184D2204) + descriptor + bytes([xxh32(descriptor) >> 8 & 0xFF])
    for i in range(0, len(data), 65536):
        block = data[i : i + 65536]
        out += struct.pack("<I", len(block) | 0x80000000) + block
    return out + bytes(4)


def zstd_store(data):
    """A zstd frame of raw blocks of at most 128 KiB, with its content size."""
    out = struct.pack("<IBQ", 0xFD2FB528, 0xE0, len(data))
    blocks = [data[i : i + 131072] for i in range(0, len(data), 131072)] or [b""]
    for block in blocks:
        out += struct.pack("<I", len(block) << 3 | (block is blocks[-1]))[:3] + block
    return out


COMPRESS = {
    "plain": bytes,
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd_store,
    "lz4": lz4_store,
}


# Running the program

# A process inherits the peak of what it is forked from: so fork from something small.
RSS_PROBE = """
import os, sys
pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
if usage.ru_maxrss << 10 > int(sys.argv[1]):
    print("peak memory: %d MiB" % (usage.ru_maxrss >> 10))
if os.WIFSIGNALED(status):
    os.kill(os.getpid(), os.WTERMSIG(status))
sys.exit(os.WEXITSTATUS(status))
"""


def spawn(argv, fds, cwd, before):
    """Start a program with `fds` (source, target) and nothing else; `before` runs in the child."""
    env = {"LC_ALL": "C", "PATH": os.environ.get("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")}
    if not before:  # some thousand times: without copying the page tables of a large pytest
        back = os.open(".", os.O_RDONLY)
        os.chdir(cwd)
        try:
            return os.posix_spawnp(
                argv[0], argv, env, file_actions=[(os.POSIX_SPAWN_DUP2, a, b) for a, b in fds]
            )
        finally:
            os.fchdir(back)
            os.close(back)
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir(cwd)
            for a, b in fds:
                os.dup2(a, b)
            before()
            os.execvpe(argv[0], argv, env)
        finally:
            os._exit(126)
    return pid


class Report:
    """struct guest_error, and how the program ended."""

    def __init__(self, raw, status):
        self.size, self.code, self.sys_errno, self.stage, text = struct.unpack("<Iiii240s", raw)
        text, _, rest = text.partition(b"\0")
        assert not rest.strip(b"\0")
        self.message = text.decode("utf-8")
        assert self.size == 256
        assert self.message and self.message.isprintable(), ascii(self.message)
        assert status == (0 if self.code == 0 else 1)
        if self.code:
            assert self.code < 0 and self.sys_errno >= 0
            assert self.stage in (STAGE_ROOTFS, STAGE_UNPACK), self.stage
        else:
            assert self.stage == 0 and self.sys_errno == 0

    @property
    def error(self):
        return errno.errorcode[-self.code] if self.code else None

    def __repr__(self):
        return "<%s %s stage %d: %s>" % (
            self.error,
            errno.errorcode.get(self.sys_errno, 0),
            self.stage,
            self.message,
        )


def tree(top, without=None):
    """What is below a directory: path (bytes) -> (mode, size or target, mtime)."""
    found = {}
    top = os.fsencode(str(top))
    for where, dirs, files in os.walk(top):
        if where == top and without in dirs:
            dirs.remove(without)
        for name in dirs + files:
            path = os.path.join(where, name)
            st = os.lstat(path)
            what = os.readlink(path) if stat.S_ISLNK(st.st_mode) else st.st_size
            if stat.S_ISDIR(st.st_mode):
                what = None
            found[os.path.relpath(path, top)] = (st.st_mode, what, st.st_mtime_ns)
    return found


class Unpacker:
    """A fresh target directory beside files that must stay as they are."""

    def __init__(self, tmp_path):
        self.program = program()
        self.top = tmp_path / "top"
        self.target = self.top / "target"
        self.outside = self.top / "outside"
        self.outside.mkdir(parents=True)
        (self.outside / "file").write_bytes(b"sentinel")
        (self.outside / "dir").mkdir()
        (self.top / "file").write_bytes(b"sentinel")
        self.target.mkdir()

    def outsiders(self):
        return tree(self.top, without=b"target")

    def run(self, archive, ids=1, args=(), pipe=False, wrap=(), before=None, rss_max=None):
        """Unpack `archive` (bytes, or an open file) and check the sentinels; returns the Report."""
        outside = self.outsiders()
        report = tempfile.TemporaryFile()
        if rss_max and not os.environ.get("GUEST_UNPACK_SANITIZED"):
            wrap = list(wrap) + [sys.executable, "-S", "-c", RSS_PROBE, str(rss_max)]
        stdin, feeder = self._stdin(archive, pipe)

        out, into = os.pipe()
        pid = spawn(
            list(wrap) + [self.program, str(ids)] + [str(a) for a in args],
            [(stdin, 0), (into, 1), (into, 2), (report.fileno(), 3)],
            str(self.target),
            before,
        )
        os.close(stdin)
        os.close(into)
        timer = threading.Timer(TIMEOUT, os.kill, (pid, signal.SIGKILL))
        timer.start()
        with os.fdopen(out, "rb") as stream:
            output = stream.read()
        _, status = os.waitpid(pid, 0)
        timer.cancel()
        if feeder:
            feeder.join()
        assert output == b""
        assert os.WIFEXITED(status), "ended by signal %d (or hung)" % os.WTERMSIG(status)
        report.seek(0)
        raw = report.read()
        report.close()
        assert len(raw) == 256
        assert self.outsiders() == outside
        assert (self.outside / "file").read_bytes() == b"sentinel"
        assert (self.top / "file").read_bytes() == b"sentinel"
        return Report(raw, os.WEXITSTATUS(status))

    @staticmethod
    def _stdin(archive, pipe):
        if pipe:
            out, into = os.pipe()

            def feed():
                try:
                    with os.fdopen(into, "wb") as stream:
                        stream.write(archive)
                except BrokenPipeError:
                    pass

            feeder = threading.Thread(target=feed)
            feeder.start()
            return out, feeder
        if hasattr(archive, "fileno"):
            return os.dup(archive.fileno()), None
        with tempfile.TemporaryFile() as stream:
            stream.write(archive)
            stream.seek(0)
            return os.dup(stream.fileno()), None

    def ok(self, archive, **options):
        report = self.run(archive, **options)
        assert report.error is None, report
        return report

    def bad(self, archive, error="EBADMSG", **options):
        report = self.run(archive, **options)
        assert report.error == error, report
        return report

    def fresh(self):
        """Empty the target, for tests that unpack many times or what pytest cannot remove."""
        try:
            os.chmod(str(self.target), 0o755)
            for where, dirs, _ in os.walk(str(self.target)):
                for name in dirs:
                    if not os.path.islink(os.path.join(where, name)):
                        os.chmod(os.path.join(where, name), 0o755)
            shutil.rmtree(str(self.target))
        except RecursionError:
            subprocess.run(["rm", "-rf", str(self.target)], check=True)
        self.target.mkdir()

    def tree(self):
        return tree(self.target)

    def read(self, name):
        with open(os.path.join(os.fsencode(str(self.target)), os.fsencode(name)), "rb") as stream:
            return stream.read()

    def stat(self, name):
        return os.lstat(os.path.join(os.fsencode(str(self.target)), os.fsencode(name)))

# SPDX-License-Identifier: MIT
"""Guest(): how a guest is made and closed."""

from __future__ import annotations

import gc
import os
import socket
import tarfile
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

import libguest
from libguest import Guest, Mount

pytestmark = pytest.mark.usefixtures("works")


def test_guests_are_apart():
    with Guest() as one, Guest() as two:
        one.run("echo one > /tmp/file", shell=True, check=True)
        assert two.run(["test", "-e", "/tmp/file"]).returncode == 1


def test_arguments_are_given_by_name():
    with pytest.raises(TypeError):
        Guest("/")


def test_hostname():
    with Guest(hostname="box-1.example") as guest:
        assert guest.run(["hostname"]).stdout == b"box-1.example\n"
    for name in ("", "x" * 65, "a b", "a\0"):
        with pytest.raises((ValueError, OSError)):
            Guest(hostname=name)


def test_bad_config():
    for config in (
        {"network": "bridge"},
        {"uid": -1},
        {"gid": 2**32},
        {"writable_bytes": -1},
        {"rootfs": -1},
        {"mounts": ["ab"]},
        {"mounts": [("/tmp", "relative")]},
        {"mounts": [(None, "/x", "no-such-option")]},
        {"capabilities": "cap_nonsense=ep"},
    ):
        with pytest.raises((ValueError, OSError)):
            Guest(**config)
    with pytest.raises(TypeError):
        Guest(memory_bytes="1G")


def effective_capabilities(guest):
    return int(guest.run(["grep", "CapEff", "/proc/self/status"]).stdout.split()[1], 16)


def test_uid_and_gid():
    with Guest() as guest:
        assert guest.run("id -u; id -g", shell=True).stdout == b"0\n0\n"
    try:
        other = Guest(uid=1000, gid=1000)
    except libguest.GuestError as error:
        pytest.skip(f"only one id can be mapped: {error}")
    with other:
        assert other.run("id -u; id -g", shell=True).stdout == b"1000\n1000\n"
        assert effective_capabilities(other) == 0


def test_capabilities():
    with Guest(capabilities="=") as guest:
        assert effective_capabilities(guest) == 0
    with Guest(capabilities="cap_chown=ep") as guest:
        assert effective_capabilities(guest) == 1


def test_seccomp():
    with Guest() as guest, Guest(seccomp=False) as other:
        for each in (guest, other):
            assert b"Seccomp:\t2\n" in each.run(["cat", "/proc/self/status"]).stdout


def test_writable_bytes():
    with Guest(writable_bytes=4 << 20) as guest:
        done = guest.run("head -c 8000000 /dev/zero > /tmp/file", shell=True, text=True)
        assert done.returncode != 0
        assert "No space left" in done.stderr


def test_a_limit_is_kept_or_refused():
    try:
        guest = Guest(pids_max=20)
    except libguest.GuestError as error:
        assert error.stage in ("limits", "cgroup")
        guest = Guest(pids_max=20, best_effort=True)
    with guest:
        assert guest.run(["true"]).returncode == 0


# Network

CONNECT = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 2)"


def test_network_none():
    with socket.socket() as server, Guest() as guest:
        server.bind(("127.0.0.1", 0))
        server.listen()
        done = guest.run(["python3", "-c", CONNECT, str(server.getsockname()[1])], text=True)
        assert done.returncode == 1
        assert "ConnectionRefusedError" in done.stderr


@pytest.mark.parametrize("network", [True, "host"])
def test_network_host(network):
    with socket.socket() as server, Guest(network=network) as guest:
        server.bind(("127.0.0.1", 0))
        server.listen()
        guest.run(["python3", "-c", CONNECT, str(server.getsockname()[1])], check=True)


# Mounts


@pytest.fixture
def shared(tmp_path):
    """A directory that guests can reach, whoever runs the tests."""
    path = tmp_path / "shared"
    path.mkdir()
    (path / "file").write_text("host\n")
    return path


def test_bind_read_only(shared):
    with Guest(mounts=[Mount(shared, "/mnt/a/b", "ro")]) as guest:
        assert guest.run(["cat", "/mnt/a/b/file"]).stdout == b"host\n"
        assert guest.run("echo x > /mnt/a/b/file", shell=True).returncode != 0
    assert (shared / "file").read_text() == "host\n"


def test_bind_writable(shared):
    try:
        guest = Guest(mounts=[(shared, "/mnt")])
    except libguest.GuestError as error:
        assert error.errno == 95  # no idmapped mounts on this file system
        pytest.skip(str(error))
    with guest:
        guest.run("echo guest >> /mnt/file; echo new > /mnt/new", shell=True, check=True)
    assert (shared / "file").read_text() == "host\nguest\n"
    assert (shared / "new").stat().st_uid == os.getuid()


def test_bind_of_a_file(shared):
    with Guest(mounts=[(shared / "file", "/etc/motd", "ro")]) as guest:
        assert guest.run(["cat", "/etc/motd"]).stdout == b"host\n"


def test_bind_of_what_is_not_there(shared):
    with pytest.raises(FileNotFoundError) as caught:
        Guest(mounts=[(shared / "missing", "/mnt")])
    assert "missing" in str(caught.value)


def test_tmpfs():
    with Guest(mounts=[Mount(None, "/mnt/scratch", "size=1m,mode=700")]) as guest:
        assert b"tmpfs" in guest.run(["stat", "-f", "-c", "%T", "/mnt/scratch"]).stdout
        assert guest.run(["stat", "-c", "%a", "/mnt/scratch"]).stdout == b"700\n"
        assert guest.run("head -c 2000000 /dev/zero > /mnt/scratch/f", shell=True).returncode != 0


def test_many_mounts(shared):
    mounts = [(shared, f"/mnt/{n}", "ro") for n in range(40)]
    with Guest(mounts=mounts) as guest:
        assert guest.run("cat /mnt/*/file", shell=True).stdout == b"host\n" * 40


# Root file systems


@pytest.fixture(scope="module")
def small_rootfs(guest):
    """A tar of dash and what it needs, made of the guest's own files."""
    code = (
        "mkdir /tmp/r && cd /tmp/r && mkdir bin etc tmp dev proc && echo small > etc/name && "
        "for f in /bin/dash $(ldd /bin/dash | grep -o '/[^ ]*'); do "
        "mkdir -p .${f%/*} && cp -L $f .$f; done && cp bin/dash bin/sh && tar cf - ."
    )
    return guest.run(code, shell=True, check=True).stdout


@pytest.mark.parametrize("how", ["path", "fd", "xz"])
def test_rootfs_from_a_tar(small_rootfs, tmp_path, how):
    import lzma

    path = tmp_path / "rootfs.tar"
    path.write_bytes(lzma.compress(small_rootfs) if how == "xz" else small_rootfs)
    with open(path, "rb") as file, Guest(rootfs=file.fileno() if how == "fd" else path) as guest:
        assert guest.run("read name < /etc/name; echo $name", shell=True).stdout == b"small\n"
        with pytest.raises(FileNotFoundError):
            guest.run(["python3"])


def test_rootfs_from_a_directory(small_rootfs, tmp_path):
    import io
    import tarfile

    root = tmp_path / "root"
    with tarfile.open(fileobj=io.BytesIO(small_rootfs)) as tar:
        tar.extractall(root)
    with Guest(rootfs=root) as guest:
        code = "read name < /etc/name; echo $name > /new; read x < /new; echo $x"
        assert guest.run(code, shell=True).stdout == b"small\n"
    assert not (root / "new").exists()


def test_cache(works, tmp_path):
    def first(**config):
        with Guest(rootfs=archive, **config) as guest:
            info = guest.info()
        libguest.trim()
        return info

    archive, cache = str(tmp_path / "rootfs.tar"), tmp_path / "cache"
    with tarfile.open(archive, "w") as tar:
        tar.addfile(tarfile.TarInfo("file"))
    assert (first().template_source, first().cache_error) == ("unpacked", None)
    info = first(cache_dir=cache)
    if info.template_source == "no cache" and "idmapped" in info.cache_error:
        pytest.skip(info.cache_error)
    assert (info.template_source, info.cache_error) == ("filled", None)
    assert first(cache_dir=cache).template_source == "cached"
    cache.chmod(0o777)
    with pytest.raises(PermissionError, match="chmod 700"):
        first(cache_dir=cache)
    cache.chmod(0o700)
    reading, writing = os.pipe()
    os.write(writing, open(archive, "rb").read())
    os.close(writing)
    with Guest(rootfs=reading, cache_dir=cache) as guest:
        assert guest.info().template_source == "no cache"
        assert "not a whole file" in guest.info().cache_error
    os.close(reading)


def test_rootfs_that_is_not_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        Guest(rootfs=tmp_path / "missing")
    (tmp_path / "text").write_text("this is not an archive\n" * 100)
    with pytest.raises(libguest.GuestError) as caught:
        Guest(rootfs=tmp_path / "text")
    assert caught.value.stage in ("unpack", "rootfs")


def test_rootfs_that_is_damaged(small_rootfs, tmp_path):
    (tmp_path / "cut.tar").write_bytes(small_rootfs[: len(small_rootfs) // 2])
    with pytest.raises(libguest.GuestError) as caught:
        Guest(rootfs=tmp_path / "cut.tar")
    assert caught.value.stage == "unpack"


def test_rootfs_that_is_too_large(small_rootfs, tmp_path):
    (tmp_path / "rootfs.tar").write_bytes(small_rootfs)
    with pytest.raises(libguest.GuestError) as caught:
        Guest(rootfs=tmp_path / "rootfs.tar", rootfs_bytes=65536)
    assert caught.value.errno == 28  # ENOSPC


# Closing


def test_closed():
    guest = Guest()
    assert not guest.closed
    guest.close()
    guest.close()
    guest.shutdown()
    assert guest.closed
    with pytest.raises(ValueError, match="closed"):
        guest.run(["true"])
    with pytest.raises(ValueError, match="closed"):
        guest.__enter__()


def test_a_guest_is_closed_by_an_exception():
    with pytest.raises(ZeroDivisionError), Guest() as guest:
        raise ZeroDivisionError
    assert guest.closed


def test_close_waits_for_commands():
    guest = Guest()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(guest.run, "sleep 0.5; echo done", shell=True)
        time.sleep(0.2)
        guest.close()
        assert future.result().stdout == b"done\n"


def test_close_by_many_threads():
    guest = Guest()
    threads = [threading.Thread(target=guest.close) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert guest.closed


def test_close_from_on_output_is_refused():
    with Guest() as guest:
        with pytest.raises(RuntimeError):
            guest.run(["echo"], on_output=lambda *_: guest.close())
        assert guest.run(["echo"]).returncode == 0


def test_unclosed_guest_warns():
    with pytest.warns(ResourceWarning, match="unclosed guest"):
        Guest()
        gc.collect()


def test_failed_guest_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(OSError):
            Guest(rootfs="/no/such")
        gc.collect()


def test_100_guests_one_after_the_other():
    for n in range(100):
        with Guest() as guest:
            assert guest.run(["echo", str(n)], text=True).stdout == f"{n}\n"


# The library


def test_version():
    assert libguest.version().count(".") == 2
    assert libguest.__version__ == libguest.version()
    assert libguest.rootfs_description()


def test_doctor():
    findings = libguest.doctor()
    assert len({finding.name for finding in findings}) == len(findings) > 3
    assert all(finding.status != libguest.Status.FAILED for finding in findings), findings


def test_trim_leaves_guests_alone():
    with Guest() as guest:
        libguest.trim()
        assert guest.run(["echo", "a"]).stdout == b"a\n"

# SPDX-License-Identifier: MIT
"""Python inside the guest: the parts of the standard library that lean on the system."""

from __future__ import annotations

import textwrap

import pytest

PROGRAMS = {
    "ssl": """
        import os, ssl
        context = ssl.create_default_context()
        context.load_verify_locations("/etc/ssl/certs/ca-certificates.crt")
        assert len(context.get_ca_certs()) > 50
        assert os.listdir(ssl.get_default_verify_paths().capath)
    """,
    "hashlib": """
        import hashlib
        assert hashlib.new("sha256", b"abc").hexdigest().startswith("ba7816bf")
        assert len(hashlib.scrypt(b"p", salt=b"s", n=2, r=1, p=1)) == 64
    """,
    "sqlite3": """
        import sqlite3
        db = sqlite3.connect("/tmp/test.db")
        db.execute("create table t (a integer primary key, b text)")
        with db:
            db.executemany("insert into t (b) values (?)", [(str(n),) for n in range(1000)])
        assert db.execute("select sum(b) from t").fetchone() == (499500,)
        db.execute("pragma journal_mode=wal")
        db.close()
    """,
    "ctypes": """
        import ctypes
        libc = ctypes.CDLL("libc.so.6")
        assert libc.strlen(b"four") == 4
        pointer = ctypes.POINTER(ctypes.c_int)
        compare = ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer)
        values = (ctypes.c_int * 4)(3, 1, 4, 1)
        libc.qsort(values, 4, 4, compare(lambda a, b: a[0] - b[0]))
        assert list(values) == [1, 1, 3, 4]
    """,
    "compression": """
        import bz2, gzip, lzma, zlib
        data = bytes(range(256)) * 1000
        for module in bz2, gzip, lzma, zlib:
            assert module.decompress(module.compress(data)) == data
    """,
    "multiprocessing": """
        import multiprocessing
        def square(n):
            return n * n
        if __name__ == "__main__":
            for method in "fork", "spawn", "forkserver":
                with multiprocessing.get_context(method).Pool(2) as pool:
                    assert pool.map(square, range(10)) == [n * n for n in range(10)]
            queue = multiprocessing.Queue()
            child = multiprocessing.Process(target=queue.put, args=("hello",))
            child.start()
            assert queue.get() == "hello"
            child.join()
    """,
    "shared_memory": """
        from multiprocessing import shared_memory
        memory = shared_memory.SharedMemory(create=True, size=1 << 20)
        memory.buf[:3] = b"abc"
        other = shared_memory.SharedMemory(memory.name)
        assert bytes(other.buf[:3]) == b"abc"
        other.close()
        memory.close()
        memory.unlink()
    """,
    "threads": """
        import threading
        total, lock = [0], threading.Lock()
        def work():
            for _ in range(1000):
                with lock:
                    total[0] += 1
        threads = [threading.Thread(target=work) for _ in range(50)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert total == [50000]
    """,
    "sockets": """
        import socket
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_UNIX, "/tmp/socket")):
            server = socket.socket(family)
            server.bind((address, 0) if family == socket.AF_INET else address)
            server.listen()
            client = socket.socket(family)
            client.connect(server.getsockname())
            connection, _ = server.accept()
            client.sendall(b"hello")
            assert connection.recv(5) == b"hello"
            for each in connection, client, server:
                each.close()
        assert socket.gethostbyname("localhost") == "127.0.0.1"
        assert socket.gethostbyname(socket.gethostname())
    """,
    "zoneinfo": """
        from datetime import datetime
        from zoneinfo import ZoneInfo
        summer = datetime(2024, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
        assert summer.utcoffset().total_seconds() == 7200
        assert ZoneInfo("America/New_York") and ZoneInfo("UTC")
    """,
    "venv": """
        import subprocess, sys
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", "/tmp/venv"], check=True)
        code = "import sys; assert sys.prefix == '/tmp/venv' != sys.base_prefix"
        subprocess.run(["/tmp/venv/bin/python", "-c", code], check=True)
    """,
    "subprocess": """
        import subprocess
        done = subprocess.run("cat | tr a-z A-Z", shell=True, input=b"hello", capture_output=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"HELLO", b"")
        try:
            subprocess.run(["sleep", "60"], timeout=0.1)
        except subprocess.TimeoutExpired:
            pass
        children = [subprocess.Popen(["sh", "-c", f"exit {n}"]) for n in range(20)]
        assert [child.wait() for child in children] == list(range(20))
    """,
    "tempfile": """
        import os, tempfile
        with tempfile.NamedTemporaryFile() as file, tempfile.TemporaryDirectory() as directory:
            assert file.name.startswith("/tmp/") and directory.startswith("/tmp/")
        with tempfile.TemporaryFile() as file:
            file.write(bytes(1 << 20))
            assert os.fstat(file.fileno()).st_size == 1 << 20
    """,
    "asyncio": """
        import asyncio
        async def main():
            async def serve(reader, writer):
                writer.write((await reader.readline()).upper())
                await writer.drain()
                writer.close()
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello\\n")
            assert await reader.readline() == b"HELLO\\n"
            writer.close()
            server.close()
            pipe = asyncio.subprocess.PIPE
            child = await asyncio.create_subprocess_exec("echo", "a", stdout=pipe)
            assert (await child.communicate())[0] == b"a\\n"
        asyncio.run(main())
    """,
    "files": """
        import fcntl, mmap, os, shutil
        os.makedirs("/tmp/d/e")
        with open("/tmp/d/e/f", "w+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.truncate(1 << 16)
            with mmap.mmap(file.fileno(), 0) as map:
                map[:3] = b"abc"
            assert file.read(3) == b"abc"
        os.symlink("f", "/tmp/d/e/l")
        os.link("/tmp/d/e/f", "/tmp/d/e/h")
        os.rename("/tmp/d/e", "/tmp/d/g")
        os.mkfifo("/tmp/d/fifo")
        os.chmod("/tmp/d/g/f", 0o600)
        shutil.copytree("/tmp/d/g", "/tmp/copy", symlinks=True)
        shutil.rmtree("/tmp/d")
        shutil.move("/usr/share/zoneinfo", "/usr/share/moved")  # a part of the template
        shutil.rmtree("/usr/share/moved")
        assert os.statvfs("/").f_bavail > 0
    """,
    "system": """
        import getpass, os, platform, pwd, resource, signal, time
        assert getpass.getuser() == "root" == pwd.getpwuid(os.getuid()).pw_name
        assert platform.freedesktop_os_release()["ID"] == "debian"
        assert os.cpu_count() >= 1 and os.getloadavg()
        assert os.urandom(8) != os.urandom(8)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 256
        signal.signal(signal.SIGUSR1, lambda *_: caught.append(1))
        caught = []
        os.kill(os.getpid(), signal.SIGUSR1)
        assert caught
        for n in range(1, 65):
            if n not in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGUSR1):
                assert signal.getsignal(n) in (signal.SIG_DFL, None)
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])
    """,
    "pty": """
        import os, pty
        pid, fd = pty.fork()
        if pid == 0:
            os.execvp("sh", ["sh", "-c", "test -t 0 && tty"])
        output = b""
        try:
            while True:
                output += os.read(fd, 100)
        except OSError:
            pass
        assert os.waitpid(pid, 0)[1] == 0
        assert output.startswith(b"/dev/pts/"), output
    """,
    "what falls back from sendfile": """
        import asyncio, os, shutil, socket
        data = os.urandom(3_000_000)
        with open("/tmp/data", "wb") as file:
            file.write(data)
        shutil.copyfile("/tmp/data", "/tmp/copy")
        with open("/tmp/copy", "rb") as file:
            assert file.read() == data
        ours, theirs = socket.socketpair()
        if os.fork() == 0:
            theirs.close()
            with open("/tmp/data", "rb") as file:
                assert ours.sendfile(file) == len(data)
            os._exit(0)
        ours.close()
        with theirs, theirs.makefile("rb") as file:
            assert file.read() == data
        assert os.wait()[1] == 0

        async def serve():
            async def handle(reader, writer):
                with open("/tmp/data", "rb") as file:
                    await asyncio.get_running_loop().sendfile(writer.transport, file)
                writer.close()

            server = await asyncio.start_server(handle, "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            assert await reader.read() == data
            writer.close()
            server.close()

        asyncio.run(serve())
    """,
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_python(own_guest, name):
    program = textwrap.dedent(PROGRAMS[name])
    own_guest.run(["tee", "/tmp/program.py"], input=program, text=True, check=True)
    done = own_guest.run(["python3", "-W", "error", "/tmp/program.py"], text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_program_on_stdin(guest):
    assert guest.run(["python3"], input="print(6 * 7)", text=True).stdout == "42\n"


def test_every_guest_program_sees_the_devices(guest):
    code = "head -c 3 /dev/zero; echo a > /dev/null; echo b > /dev/stdout; echo c > /dev/stderr"
    done = guest.run(code, shell=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"\0\0\0b\n", b"c\n")

# SPDX-License-Identifier: MIT
"""Byte-compile the standard library and dist-packages; runs inside the rootfs.

Each file is compiled in a fork of its own: what marshal writes depends on which strings the process has
interned before, and must not depend on the order or the number of jobs. "unchecked-hash" files hold no
timestamp, and Python neither stats the source nor tries to write them again.
"""

import os
import py_compile
import sys


def sources(top):
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(set(folders) - {"__pycache__"})
        yield from (os.path.join(folder, name) for name in sorted(names) if name.endswith(".py"))


def compile_one(path):
    py_compile.compile(path, doraise=True, quiet=2,
                       invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)


def main():
    jobs = int(sys.argv[1])
    running = {}
    failed = []

    def reap():
        pid, status = os.wait()
        path = running.pop(pid)
        if status:
            failed.append(path)

    for top in (f"/usr/lib/python3.{sys.version_info.minor}", "/usr/lib/python3/dist-packages"):
        for path in sources(top):
            if len(running) == jobs:
                reap()
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    compile_one(path)
                    code = 0
                finally:
                    os._exit(code)
            running[pid] = path
    while running:
        reap()
    if failed:
        sys.exit("cannot byte-compile: " + " ".join(failed))


main()

# SPDX-License-Identifier: MIT
"""Import every module of the standard library; runs inside the rootfs.

Each import gets a fork of its own, so that what one module imports cannot hide what another one lacks.
"""

import os
import pkgutil
import sys
import sysconfig

# README.md says why.
LEFT_OUT = {"ensurepip", "idlelib", "tkinter", "_tkinter", "turtle", "turtledemo"}

# Modules of other systems.
FOREIGN = {
    "_msi", "_overlapped", "_scproxy", "_winapi", "msilib", "msvcrt", "nt", "winreg", "winsound",
    "asyncio.windows_events", "asyncio.windows_utils", "distutils._msvccompiler",
    "distutils.command.bdist_msi", "distutils.msvc9compiler", "distutils.msvccompiler", "encodings.mbcs",
    "encodings.oem", "multiprocessing.popen_spawn_win32",
}

# Broken everywhere: a script of CPython's, with an import that only Python 2 could resolve.
BROKEN = {"lib2to3.pgen2.conv"}

SKIPPED = LEFT_OUT | FOREIGN | BROKEN


def submodules(name, folder):
    """The names below a package, without `__main__`: to import that is to run it."""
    for info in pkgutil.iter_modules([folder], name + "."):
        if info.name in SKIPPED or info.name.endswith(".__main__"):
            continue
        yield info.name
        if info.ispkg:
            yield from submodules(info.name, os.path.join(folder, info.name.rpartition(".")[2]))


def modules():
    stdlib = sysconfig.get_path("stdlib")
    for name in sorted(sys.stdlib_module_names - SKIPPED):
        yield name
        yield from submodules(name, os.path.join(stdlib, name))


def import_in_child(name):
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.close(1)     # `this` prints a poem
        __import__(name)
        code = 0
    except BaseException as error:
        print(f"{name}: {error!r}", file=sys.stderr)
    finally:
        os._exit(code)


def main():
    names = list(modules())
    jobs = int(sys.argv[1])
    running = failures = 0
    for name in names:
        if running == jobs:
            failures += os.wait()[1] != 0
            running -= 1
        import_in_child(name)
        running += 1
    for _ in range(running):
        failures += os.wait()[1] != 0
    if failures:
        sys.exit(f"{failures} of {len(names)} modules cannot be imported")
    print(f"       {len(names)} modules")


main()

# SPDX-License-Identifier: MIT
"""The ctypes declarations against <guest/guest.h>."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess

import pytest
from conftest import BINDINGS

from libguest import _abi

INCLUDE = BINDINGS.parents[1] / "include"
STRUCTS = [
    value
    for value in vars(_abi).values()
    if isinstance(value, type) and issubclass(value, ctypes.Structure)
]
CONSTANTS = {name: value for name, value in vars(_abi).items() if name.startswith("GUEST_")}


@pytest.fixture(scope="module")
def header():
    path = INCLUDE / "guest" / "guest.h"
    if not path.exists():
        pytest.skip("not in a checkout: there is no guest.h")
    return re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)


def test_every_function_is_bound(header):
    functions = set(re.findall(r"GUEST_API [^;{]*?\b(guest_\w+)\(", header))
    assert functions == set(_abi.PROTOTYPES)


def test_every_struct_is_bound(header):
    pattern = r"^struct (guest_\w+) \{\n(.*?)^\};"
    declared = dict(re.findall(pattern, header, re.DOTALL | re.MULTILINE))
    assert set(declared) == {struct.__name__ for struct in STRUCTS}
    for struct in STRUCTS:
        names = []
        for field in declared[struct.__name__].split(";")[:-1]:
            callback = re.findall(r"\(\*(\w+)\)", field)
            names += callback or [re.findall(r"(\w+)(?:\[\d+\])?$", n)[0] for n in field.split(",")]
        assert names == [field[0] for field in struct._fields_]


def test_every_constant_is_bound(header):
    declared = set(re.findall(r"^\t(GUEST_\w+) =", header, re.MULTILINE))
    assert {name for name in declared if not name.startswith("GUEST_STAGE_")} == set(CONSTANTS)


def test_layout_and_values(header, tmp_path):
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("there is no C compiler")
    lines, expected = [], []
    for struct in STRUCTS:
        lines.append(f'printf("%zu\\n", sizeof(struct {struct.__name__}));')
        expected.append(ctypes.sizeof(struct))
        for field in struct._fields_:
            lines.append(f'printf("%zu\\n", offsetof(struct {struct.__name__}, {field[0]}));')
            expected.append(getattr(struct, field[0]).offset)
    for name, value in CONSTANTS.items():
        lines.append(f'printf("%d\\n", (int){name});')
        expected.append(value)
    source = tmp_path / "layout.c"
    program = tmp_path / "layout"
    body = "\n".join(lines)
    source.write_text(
        f"#include <stdio.h>\n#include <guest/guest.h>\nint main(void)\n{{\n{body}\n}}\n"
    )
    subprocess.run([compiler, "-I", str(INCLUDE), str(source), "-o", str(program)], check=True)
    output = subprocess.run([str(program)], stdout=subprocess.PIPE, check=True).stdout
    assert list(map(int, output.split())) == expected


def test_default_output_limit():
    from libguest._command import DEFAULT_OUTPUT_LIMIT

    command = _abi.guest_command()
    assert _abi.lib.guest_command_init(command, ctypes.sizeof(command)) == 0
    assert command.output_limit_bytes == DEFAULT_OUTPUT_LIMIT

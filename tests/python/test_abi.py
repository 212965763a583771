# SPDX-License-Identifier: MIT
"""The ctypes declarations against <guest/guest.h>."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess

import pytest
from conftest import BINDINGS

from libguest import Cause, Info, Seen, Status, _abi
from libguest._command import Options

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


def test_every_function_takes_as_many_arguments(header):
    declared = dict(re.findall(r"GUEST_API [^;{]*?\b(guest_\w+)\((.*?)\);", header, re.DOTALL))
    for name, (_, arguments) in _abi.PROTOTYPES.items():
        text = re.sub(r"\(\*\w+\)\(.*?\)", "", declared[name], flags=re.DOTALL)
        assert len(arguments) == (0 if text == "void" else len(text.split(","))), name


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
    declared |= set(re.findall(r"^#define (GUEST_\w+) ", header, re.MULTILINE))
    unbound = ("GUEST_STAGE_", "GUEST_VERSION_", "GUEST_API")
    assert {name for name in declared if not name.startswith(unbound)} == set(CONSTANTS)


@pytest.mark.parametrize(
    "kind, first", [(Cause, "EXITED"), (Seen, "SEEN_OOM"), (Status, "FINDING_OK")]
)
def test_every_member_of_an_enum_is_there(header, kind, first):
    block = re.search(r"enum \{\s*GUEST_%s .*?\};" % first, header, re.DOTALL).group(0)
    declared = {name: getattr(_abi, name) for name in re.findall(r"\b(GUEST_\w+) =", block)}
    prefix = re.match("(?:SEEN_|FINDING_)?", first).group(0)
    bound = {f"GUEST_{prefix}{name}": int(member) for name, member in kind.__members__.items()}
    bound.pop("GUEST_UNKNOWN", None)
    assert bound == declared


def test_every_limit_of_a_command_is_an_option():
    names = {field[0] for field in _abi.guest_command._fields_}
    limits = {name for name in names if re.search("_(bytes|max|files|quota|ns)$", name)}
    others = {"timeout_ns", "output_limit_bytes", "cpu_time_ns"}
    assert limits - others <= set(Options.__annotations__)
    assert {"timeout", "output_limit", "cpu_time"} <= set(Options.__annotations__)


def test_every_field_of_info_is_told():
    names = {re.sub("_ns$", "_time", field[0]) for field in _abi.guest_info._fields_}
    assert names - {"size", "reserved"} == set(Info._fields)


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
        lines.append(f'printf("%llu\\n", (unsigned long long){name});')
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

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Header, symbol map, manual pages and the built library must name the same functions, and examples must compile. The
command-line tool, its --help and its page must name the same options.

    check_docs.py SOURCE_DIRECTORY LIBRARY [C_COMPILER]
"""
import pathlib
import re
import subprocess
import sys
import tempfile

PROTOTYPE = re.compile(r"^GUEST_API\b[^;(]*?\b(guest_\w+)\(", re.MULTILINE)
SYMBOL = re.compile(r"^\s*(guest_\w+);", re.MULTILINE)
PAGE_NAME = re.compile(r"^\.Nm (guest_\w+)", re.MULTILINE)


def header_functions(source):
    return set(PROTOTYPE.findall((source / "include/guest/guest.h").read_text()))


def exported_symbols(library):
    lines = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True)
    names = {line.split()[-1].split("@")[0] for line in lines.stdout.splitlines() if " A " not in line}
    # a sanitized library exports the sanitizer's marks, too
    return {name for name in names if not name.startswith(("__asan", "__odr_asan", "__ubsan", "__tsan"))}


def option_names(source):
    """The options of `guest run` and `guest doctor`, by where they are named."""
    tool = source / "examples/guest"
    tables = "".join((tool / name).read_text() for name in ("run_options.c", "doctor.c"))
    text = re.search(r"char help\[\] =(.*?);\n\n", (tool / "main.c").read_text(), re.DOTALL).group(1)
    page = (source / "man/guest.1").read_text()
    return {
        "tool": set(re.findall(r'\{ "([a-z-]+)", (?:no|optional|required)_argument', tables)) | {"version"},
        "--help": set(re.findall(r"--([a-z][a-z-]+)", text)),
        "guest.1": set(re.findall(r"\bFl -([a-z][a-z-]+)", page)),
    }


def examples(page):
    """The C programs between .Bd and .Ed of the EXAMPLES section of an mdoc page, as the reader sees them."""
    text = page.read_text()
    match = re.search(r"^\.Sh EXAMPLES$(.*?)(?=^\.Sh |\Z)", text, re.MULTILINE | re.DOTALL)
    for block in re.findall(r"^\.Bd [^\n]*\n(.*?)^\.Ed", match.group(1) if match else "", re.MULTILINE | re.DOTALL):
        lines = [line for line in block.splitlines() if not line.startswith(".")]
        yield "\n".join(lines).replace("\\&", "").replace("\\e", "\\").replace("\\-", "-").replace("\\(dq", '"')


def compiles(code, source, compiler):
    """As it is, or (a fragment) as the body of a function whose surroundings exist."""
    whole = code if "main(" in code else f"""
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <guest/guest.h>
int example(struct guest *guest, struct guest_config config, struct guest_command command,
            struct guest_result result, struct guest_error err);
int example(struct guest *guest, struct guest_config config, struct guest_command command,
            struct guest_result result, struct guest_error err)
{{
{code}
return guest || config.size || command.size || result.size || err.size;
}}
"""
    with tempfile.TemporaryDirectory() as folder:
        name = pathlib.Path(folder) / "example.c"
        name.write_text(whole)
        done = subprocess.run([compiler, "-std=gnu11", "-Wall", "-Werror=implicit-function-declaration",
                               "-fsyntax-only", f"-I{source / 'include'}", str(name)], capture_output=True, text=True)
    return done.returncode == 0, done.stderr


def main():
    source, library = pathlib.Path(sys.argv[1]), sys.argv[2]
    compiler = sys.argv[3] if len(sys.argv) > 3 else "cc"
    wanted = header_functions(source)
    problems = []

    def compare(what, names):
        problems.extend(f"{what}: lacks {name}" for name in sorted(wanted - names))
        problems.extend(f"{what}: has {name}, which the header lacks" for name in sorted(names - wanted))

    compare("lib/guest.map", set(SYMBOL.findall((source / "lib/guest.map").read_text())))
    compare(library, {name for name in exported_symbols(library) if not name.startswith("GUEST_")})
    pages = sorted((source / "man").glob("*.3"))
    if pages:
        compare("man", {name for page in pages for name in PAGE_NAME.findall(page.read_text())})
        problems.extend(f"{page.name}: does not name {page.stem}" for page in pages
                        if page.stem not in PAGE_NAME.findall(page.read_text()))
    else:
        print("SKIP man: no pages")
    options = option_names(source)
    for where, names in options.items():
        problems.extend(f"{where}: lacks --{name}" for name in sorted(set().union(*options.values()) - names))
    for page in sorted((source / "man").glob("*.[37]")):
        for number, code in enumerate(examples(page), 1):
            if "guest_" not in code or "#!" in code or "import " in code:
                continue
            works, message = compiles(code, source, compiler)
            if not works:
                problems.append(f"{page.name}: example {number} does not compile:\n{message}")
    print("\n".join(problems) or f"{len(wanted)} functions, {len(pages)} pages: all agree")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: MIT
"""Tests that could not share a machine, let alone the developer's."""

import subprocess

import pytest


def test_sorts_its_input(guest):
    done = guest.run(["sort", "-n"], input="10\n9\n100\n", text=True, check=True)
    assert done.stdout == "9\n10\n100\n"


def test_removes_the_shell(guest):
    guest.run(["rm", "/usr/bin/bash"], check=True)
    with pytest.raises(FileNotFoundError):
        guest.run(["bash", "-c", "true"])


def test_has_a_shell(guest):
    assert guest.run(["bash", "-c", "exit 3"]).returncode == 3


def test_a_server_on_a_fixed_port(guest):
    """Each guest has a network of its own: tests that run at once do not meet on port 80."""
    script = """
        cd /tmp && echo served > index.html
        python3 -m http.server 80 2>log &
        until python3 -c 'import urllib.request as r; print(r.urlopen("http://localhost").read())' 2>/dev/null
        do sleep 0.05; done
    """
    done = guest.run(script, shell=True, text=True, timeout=20, check=True)
    assert done.stdout == "b'served\\n'\n"


def test_an_endless_loop_is_ended(guest):
    with pytest.raises(subprocess.TimeoutExpired):
        guest.run(["sh", "-c", "while :; do :; done"], timeout=0.3)


def test_reads_files_of_the_host(guest_with_files, tmp_path):
    (tmp_path / "data.txt").write_text("b\na\n")
    done = guest_with_files.run(["sort", "/files/data.txt"], text=True, check=True)
    assert done.stdout == "a\nb\n"
    assert guest_with_files.run(["touch", "/files/new"]).returncode != 0

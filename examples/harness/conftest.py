# SPDX-License-Identifier: MIT
"""A machine for each test: a test that takes `guest` has a fresh one, which ends with the test.

    python3 -m pytest examples/harness
"""

import importlib.util
import sys
from pathlib import Path

import pytest

if importlib.util.find_spec("libguest") is None:  # not installed: this checkout's
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bindings" / "python"))

from libguest import Guest  # noqa: E402


@pytest.fixture
def guest():
    with Guest() as fresh:
        yield fresh


@pytest.fixture
def guest_with_files(tmp_path):
    """A guest that sees the test's tmp_path, read-only, as /files."""
    with Guest(mounts=[(tmp_path, "/files", "ro")]) as fresh:
        yield fresh

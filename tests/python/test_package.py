# SPDX-License-Identifier: MIT
"""The package as pip installs it, without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile

import pytest
from conftest import BINDINGS

from libguest import _abi

CODE = "import libguest, execute_code; print(libguest.__file__, libguest.version())"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the sources: pip may write to where it builds."""
    if not (BINDINGS / "pyproject.toml").exists():
        pytest.skip("not in a checkout: there is no pyproject.toml")
    path = tmp_path_factory.mktemp("package") / "python"
    shutil.copytree(BINDINGS, path, ignore=shutil.ignore_patterns("__pycache__"))
    return path


@pytest.fixture
def environment(tmp_path):
    try:
        venv.create(tmp_path / "venv", with_pip=True)
    except subprocess.CalledProcessError:
        pytest.skip("pip cannot be bootstrapped here")
    return tmp_path / "venv"


def run(*command, **variables):
    env = dict(os.environ, PIP_NO_INDEX="1", PIP_DISABLE_PIP_VERSION_CHECK="1")
    for name in ("LIBGUEST_LIBRARY", "PYTHONPATH"):
        env.pop(name, None)
    env.update(variables)
    done = subprocess.run(
        list(map(str, command)),
        env=env,
        cwd="/",
        timeout=300,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def backend(tree, call, directory):
    """Let the backend build, and return the path of what it built."""
    code = f"import build_backend; print(build_backend.{call}({str(directory)!r}))"
    return directory / run(sys.executable, "-B", "-c", code, PYTHONPATH=str(tree)).strip()


def test_pip_install_with_the_library(tree, environment):
    run(environment / "bin/pip", "install", tree, LIBGUEST_LIBRARY=_abi.lib._name)
    path, version = run(environment / "bin/python", "-c", CODE).split()
    assert path.startswith(str(environment))
    assert version == _abi.lib.guest_version().decode()


def test_pip_install_editable(tree, environment):
    run(environment / "bin/pip", "install", "--editable", tree)
    path, _ = run(environment / "bin/python", "-c", CODE, LIBGUEST_LIBRARY=_abi.lib._name).split()
    assert path.startswith(str(tree))


def test_wheel_without_the_library(tree, tmp_path):
    wheel = backend(tree, "build_wheel", tmp_path)
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {"libguest/__init__.py", "libguest/py.typed", "execute_code.py"} <= set(names)
    assert not [name for name in names if ".so" in name]


def test_the_same_files_make_the_same_wheel(tree, tmp_path):
    wheels = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        wheels.append(backend(tree, "build_wheel", tmp_path / name).read_bytes())
    assert wheels[0] == wheels[1]


def test_sdist(tree, tmp_path):
    sdist = backend(tree, "build_sdist", tmp_path)
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    assert {"PKG-INFO", "pyproject.toml", "build_backend.py"} <= names
    assert {"libguest/__init__.py", "libguest/py.typed", "execute_code.py"} <= names

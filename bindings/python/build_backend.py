# SPDX-License-Identifier: MIT
"""A PEP 517 build backend of the standard library alone, so that pip needs no network.

A wheel takes the shared library along if the environment variable LIBGUEST_LIBRARY names one, or if
the checkout has been built; otherwise it is pure Python, and finds the library where it is used.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import os
import re
import sysconfig
import tarfile
import zipfile
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

HERE = Path(__file__).resolve().parent
PACKAGE = ["libguest/*.py", "libguest/py.typed", "execute_code.py"]
SOURCES = [*PACKAGE, "pyproject.toml", "build_backend.py"]
LICENSES = [HERE / "LICENSE", HERE.parent.parent / "LICENSE"]  # of an sdist, of a checkout
Settings = Optional[Dict[str, Any]]
Source = Union[str, Path]  # text, or a file to copy


def get_requires_for_build_wheel(config_settings: Settings = None) -> List[str]:
    return []


get_requires_for_build_sdist = get_requires_for_build_editable = get_requires_for_build_wheel


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: Optional[str] = None
) -> str:
    files: Dict[str, Source] = {name: HERE / name for name in _find(PACKAGE)}
    library = _library()
    if library:
        files["libguest/libguest.so.0"] = library
    return _write_wheel(Path(wheel_directory), files, pure=library is None)


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: Optional[str] = None
) -> str:
    files: Dict[str, Source] = {"__editable__.libguest.pth": f"{HERE}\n"}
    return _write_wheel(Path(wheel_directory), files, pure=True)


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    project = _project()
    base = f"{project['name']}-{project['version']}"
    path = Path(sdist_directory, f"{base}.tar.gz")
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as sdist:
        for name in _find(SOURCES):
            sdist.add(HERE / name, f"{base}/{name}")
        for license in _license():
            sdist.add(license, f"{base}/LICENSE")
        _add_text(sdist, f"{base}/PKG-INFO", _metadata())
    return path.name


def _find(patterns: List[str]) -> List[str]:
    found = [path for pattern in patterns for path in HERE.glob(pattern)]
    return sorted(str(path.relative_to(HERE)) for path in found)


def _license() -> List[Path]:
    return [path for path in LICENSES if path.exists()][:1]


def _project() -> Dict[str, str]:
    """The strings of [project] in pyproject.toml. Before 3.11 nothing standard reads TOML."""
    text = (HERE / "pyproject.toml").read_text(encoding="utf-8")
    table = text.split("[project]\n")[1].split("\n[")[0]
    return dict(re.findall(r'^([\w-]+) = "(.*)"$', table, re.MULTILINE))


def _metadata() -> str:
    project = _project()
    return (
        "Metadata-Version: 2.1\n"
        f"Name: {project['name']}\n"
        f"Version: {project['version']}\n"
        f"Summary: {project['description']}\n"
        "License: MIT\n"
        f"Requires-Python: {project['requires-python']}\n"
    )


def _library() -> Optional[Path]:
    named = os.environ.get("LIBGUEST_LIBRARY")
    if named:
        return Path(named).resolve(strict=True)
    spec = importlib.util.spec_from_file_location("_find", HERE / "libguest" / "_find.py")
    assert spec and spec.loader
    find = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(find)
    newest = next(find.built(str(HERE)), None)
    return Path(newest) if newest else None


def _write_wheel(directory: Path, files: Dict[str, Source], pure: bool) -> str:
    """Write files, by their names in the wheel."""
    project = _project()
    base = f"{project['name']}-{project['version']}"
    platform = "any" if pure else re.sub(r"[-.]", "_", sysconfig.get_platform())
    info = f"{base}.dist-info"
    files[f"{info}/METADATA"] = _metadata()
    files[f"{info}/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: build_backend\n"
        f"Root-Is-Purelib: {str(pure).lower()}\nTag: py3-none-{platform}\n"
    )
    files.update({f"{info}/LICENSE": path for path in _license()})
    record = []
    name = f"{base}-py3-none-{platform}.whl"
    with zipfile.ZipFile(directory / name, "w", zipfile.ZIP_DEFLATED) as wheel:
        for to, source in files.items():
            data = source.encode() if isinstance(source, str) else source.read_bytes()
            entry = zipfile.ZipInfo(to)  # dated 1980: the same files make the same wheel
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            wheel.writestr(entry, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{to},sha256={digest},{len(data)}\n")
        wheel.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "".join(record) + f"{info}/RECORD,,\n")
    return name


def _add_text(archive: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode()
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))

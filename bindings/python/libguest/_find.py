# SPDX-License-Identifier: MIT
"""Where the shared library is."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Iterator

VARIABLE = "LIBGUEST_LIBRARY"
SONAME = "libguest.so.0"


def load() -> ctypes.CDLL:
    """Load the library, or raise an ImportError that says what was tried."""
    named = os.environ.get(VARIABLE)
    if named:
        try:
            return ctypes.CDLL(named)
        except OSError as error:
            raise ImportError(f"{VARIABLE}={named}: {error}") from None
    tried = []
    for candidate in _candidates(Path(__file__).resolve().parent):
        try:
            return ctypes.CDLL(candidate)
        except OSError as error:
            tried.append(str(error))
    raise ImportError(
        f"the libguest shared library cannot be loaded ({'; '.join(tried)}); "
        f"install it, or let {VARIABLE} name it"
    )


def _candidates(package: Path) -> Iterator[str]:
    bundled = package / SONAME
    if bundled.exists():
        yield str(bundled)
    try:
        from ._installed import LIBRARY  # written by cmake --install
    except ImportError:
        pass
    else:
        if os.path.exists(LIBRARY):
            yield LIBRARY
    yield from map(str, built(package.parent))
    yield SONAME


def built(python: Path) -> Iterator[Path]:
    """The libraries built in the checkout that has this bindings/python, the newest first."""
    if python.parent.name != "bindings":
        return
    checkout = python.parent.parent
    found = [path for path in checkout.glob("build*/lib/libguest.so") if path.exists()]
    yield from sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)

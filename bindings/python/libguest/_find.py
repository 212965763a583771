# SPDX-License-Identifier: MIT
"""Where the shared library is."""

from __future__ import annotations

import ctypes
import glob
import os
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
    for candidate in _candidates(os.path.dirname(os.path.realpath(__file__))):
        try:
            return ctypes.CDLL(candidate)
        except OSError as error:
            tried.append(str(error))
    raise ImportError(
        f"the libguest shared library cannot be loaded ({'; '.join(tried)}); "
        f"install it, or let {VARIABLE} name it"
    )


def _candidates(package: str) -> Iterator[str]:
    bundled = os.path.join(package, SONAME)
    if os.path.exists(bundled):
        yield bundled
    try:
        from ._installed import LIBRARY  # written by cmake --install
    except ImportError:
        pass
    else:
        if os.path.exists(LIBRARY):
            yield LIBRARY
    yield from built(os.path.dirname(package))
    yield SONAME


def built(python: str) -> Iterator[str]:
    """The libraries built in the checkout that has this bindings/python, the newest first."""
    bindings = os.path.dirname(python)
    if os.path.basename(bindings) != "bindings":
        return
    checkout = glob.escape(os.path.dirname(bindings))
    found = glob.glob(os.path.join(checkout, "build*", "lib", "libguest.so"))
    yield from sorted(filter(os.path.exists, found), key=os.path.getmtime, reverse=True)

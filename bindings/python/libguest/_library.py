# SPDX-License-Identifier: MIT
"""What is about the library and the host, rather than about one guest."""

from __future__ import annotations

import enum
from typing import Any, List, NamedTuple

from . import _abi
from ._errors import error_from, new_error


class Status(enum.IntEnum):
    """How much a Finding matters."""

    OK = _abi.GUEST_FINDING_OK
    NOTE = _abi.GUEST_FINDING_NOTE  # guests work; something optional does not
    FAILED = _abi.GUEST_FINDING_FAILED  # guests do not work


class Finding(NamedTuple):
    """One thing that doctor() found out about this host.

    Attributes:
      status  a Status: OK, NOTE or FAILED
      name    short and stable: "user-namespace", "proc", ...
      detail  what was tried and what came of it
      remedy  what to do about it; "" if nothing
    """

    status: Status
    name: str
    detail: str
    remedy: str


def version() -> str:
    """The version of the shared library: "0.1.0"."""
    return str(_abi.lib.guest_version().decode())


def rootfs_description() -> str:
    """One line on the root file system that is embedded in the library."""
    return str(_abi.lib.guest_rootfs_description().decode())


def trim() -> None:
    """Give back what is kept for later guests: unpacked templates, and what holds them.

    Guests are not touched. The first guest after this one takes as long as the very first one did.
    """
    error = new_error()
    if _abi.lib.guest_trim(error) < 0:
        raise error_from(error)


def doctor() -> List[Finding]:
    """Find out what this host allows, by trying each step. Guests work if no finding is FAILED."""
    findings: List[Finding] = []

    @_abi.on_finding_function
    def on_finding(user_data: Any, finding: Any) -> int:
        found = finding.contents
        text = (found.name, found.detail, found.remedy)
        strings = [string.decode(errors="replace") for string in text]
        findings.append(Finding(Status(found.status), *strings))
        return 0

    error = new_error()
    if _abi.lib.guest_doctor(on_finding, None, error) < 0:
        raise error_from(error)
    return findings

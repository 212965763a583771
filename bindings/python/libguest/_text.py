# SPDX-License-Identifier: MIT
"""Python's strings and integers, and C's."""

from __future__ import annotations

import codecs
import ctypes
import operator
import os
from typing import Any, Iterable, List, Mapping, Optional, Type, Union

Text = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]

_UINT64_MAX = 2**64 - 1
_SECONDS_MAX = 2**63 / 1e9


def encode(text: Text) -> bytes:
    """What the C library is given for a string or path."""
    encoded = os.fsencode(text)
    if b"\0" in encoded:
        raise ValueError("embedded null byte")
    return encoded


def unsigned(name: str, value: int, maximum: int = _UINT64_MAX) -> int:
    """An integer that fits; ctypes itself would silently cut it."""
    number = operator.index(value)
    if not 0 <= number <= maximum:
        raise ValueError(f"{name} must be between 0 and {maximum}")
    return number


def check_names(given: Mapping[str, Any], known: Type[Any]) -> None:
    """Refuse arguments that the TypedDict does not have, as Python would."""
    unknown = given.keys() - known.__annotations__.keys()
    if unknown:
        raise TypeError(f"got an unexpected keyword argument {min(unknown)!r}")


def nanoseconds(seconds: Optional[float]) -> int:
    """A time limit as the library takes it: 0 is none, which no positive one may become."""
    if seconds is None or seconds >= _SECONDS_MAX:
        return 0
    return max(1, int(seconds * 1e9))


def string_array(strings: Iterable[bytes]) -> Any:
    """A char *[] with a NULL at its end."""
    entries: List[Optional[bytes]] = [*strings, None]
    return (ctypes.c_char_p * len(entries))(*entries)


class Codec:
    """Text mode: how a command's input is encoded, and its output decoded."""

    def __init__(self, encoding: Optional[str], errors: Optional[str]) -> None:
        self.encoding = encoding or "utf-8"
        self.errors = errors or "strict"

    def encode(self, text: str) -> bytes:
        if not isinstance(text, str):
            raise TypeError("input must be str in text mode")
        return text.encode(self.encoding, self.errors)

    def decode(self, data: bytes, whole: bool) -> str:
        """Decode output; if it is not whole, it may end in half a character, which is left out."""
        decoder = codecs.getincrementaldecoder(self.encoding)(self.errors)
        return decoder.decode(data, whole).replace("\r\n", "\n").replace("\r", "\n")

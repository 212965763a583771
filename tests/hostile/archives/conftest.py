# SPDX-License-Identifier: MIT
import pytest

from unpacker import Unpacker


@pytest.fixture
def unpacker(tmp_path):
    return Unpacker(tmp_path)

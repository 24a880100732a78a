"""What must hold after every test, and the judges (oracle.py) where every test finds them."""

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from tensorad.node import Node, recording


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No context stays open and no node stays alive, with the garbage collector off: so there are no cycles."""
    gc.disable()
    gc.freeze()  # what there is now is set aside, so that only this test's objects are looked through
    yield
    try:
        assert not recording.get().entries, "a context is open after the test"
        alive = [item for item in gc.get_objects() if type(item) is Node]
        assert not alive, f"{len(alive)} nodes are alive after the test: {alive[:5]}"
    finally:
        gc.unfreeze()
        gc.enable()

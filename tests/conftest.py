"""What many tests share."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def media() -> Path:
    """The folder of real clips; the test is skipped where there is none."""
    folder = Path(os.environ.get("VISION_TEST_MEDIA", ROOT.parent / "shared" / "media"))
    if not folder.is_dir():
        pytest.skip(f"no clips in {folder} (VISION_TEST_MEDIA)")
    return folder


@pytest.fixture
def no_threads_left() -> Iterator[None]:
    """The test leaves no processor thread behind."""
    yield
    workers = [thread for thread in threading.enumerate() if thread.name.startswith("processor-")]
    for thread in workers:
        thread.join(2)  # told to end, it may be on its way
    left = [thread.name for thread in workers if thread.is_alive()]
    assert not left, f"left behind: {left}"

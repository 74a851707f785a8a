"""Where the real clips are, for the tests that use them."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["MEDIA"]

MEDIA = Path(os.environ.get("VISION_TEST_MEDIA", Path(__file__).resolve().parents[2] / "shared" / "media"))
"""The folder of the clips; it may not exist."""

"""plotly.js, from its Python package, packed so that a report is a third of what it would be."""

from __future__ import annotations

import base64
import gzip
from functools import cache
from importlib.util import find_spec

from vision.errors import OutputError

__all__ = ["MISSING", "is_installed", "packed_plotly", "plotly_source"]

MISSING = "report.html needs plotly, which is not installed: pip install 'avatar-vision[report]'"


def is_installed() -> bool:
    """Whether the extra `report` is there."""
    return find_spec("plotly") is not None


@cache
def plotly_source() -> str:
    """The script itself.

    :raises OutputError: when plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise OutputError(MISSING) from error
    return str(get_plotlyjs())


@cache
def packed_plotly() -> str:
    """The script as base64 of gzip, which browsers unpack (DecompressionStream)."""
    return base64.b64encode(gzip.compress(plotly_source().encode(), 9, mtime=0)).decode()

"""What the HTTP sides have in common."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx

from vision.connectors.receiver import is_loopback
from vision.redaction import redacted_text

__all__ = ["client_for", "said_by"]


def client_for(url: str, timeout_s: float = 5.0) -> httpx.AsyncClient:
    """A client that follows no redirects by itself; proxies of the environment are not for this machine."""
    local = is_loopback(urlsplit(url).hostname or "")
    return httpx.AsyncClient(timeout=timeout_s, follow_redirects=False, trust_env=not local)


def said_by(error: BaseException) -> str:
    """Why a request failed, without what the URL may hold in secret."""
    return redacted_text(" ".join(str(error).split())) or type(error).__name__

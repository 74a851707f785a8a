"""Keeps secrets out of what is shown and written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

__all__ = ["HIDDEN", "is_secret", "redacted", "redacted_text", "redacted_url"]

HIDDEN = "***"
_SECRET_KEY = re.compile(r"token|secret|password|passwd|credential|api_?key|authorization|admin_ks", re.IGNORECASE)
_SECRET_WORDS = frozenset(["auth", "bearer", "ks", "pwd"])
# A quote may be part of a URL, and what is behind it a secret; only at the end it belongs to the sentence.
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://\S*[^\s'\"<>,.;:!)\]}]", re.IGNORECASE)


def is_secret(key: str) -> bool:
    """Whether a key sounds as if its value were a secret."""
    words = key.lower().split("_")
    return words == ["key"] or not _SECRET_WORDS.isdisjoint(words) or _SECRET_KEY.search(key) is not None


def redacted_url(url: str) -> str:
    """The URL without user, password, query values and fragment; those may be tokens. All of it where it is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # a port that is none may be part of a password
    except ValueError:
        return HIDDEN
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{HIDDEN}@{host}" if "@" in parts.netloc else host
    return urlunsplit((parts.scheme, netloc, parts.path, HIDDEN if parts.query else "", ""))


def redacted_text(text: str) -> str:
    """A text with every URL in it redacted."""
    return _URL.sub(lambda found: redacted_url(found.group()), text)


def redacted(data: Any) -> Any:
    """Plain data with the values of secret-sounding keys hidden and all URLs redacted."""
    if isinstance(data, Mapping):
        return {
            key: HIDDEN if isinstance(key, str) and is_secret(key) and value else redacted(value)
            for key, value in data.items()
        }
    if isinstance(data, list | tuple):
        return [redacted(item) for item in data]
    return redacted_text(data) if isinstance(data, str) else data

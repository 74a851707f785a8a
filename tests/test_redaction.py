"""Secrets stay out of what is shown."""

from __future__ import annotations

import pytest

from vision.redaction import redacted, redacted_text, redacted_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/whep/x", "https://h/whep/x"),
        ("https://u:p@h:8443/whep?token=abc#frag", "https://***@h:8443/whep?***"),
        ("http://[::1]:80/a", "http://[::1]:80/a"),
        ("http://[x", "***"),
    ],
)
def test_urls(url: str, shown: str) -> None:
    """User, password, query and fragment are hidden; host and path stay."""
    assert redacted_url(url) == shown
    assert redacted_text(f"cannot reach '{url}' now") == f"cannot reach '{shown}' now"


def test_data() -> None:
    """Keys that sound like secrets are hidden, however deep; empty ones show that they are empty."""
    data = {"a": [{"token": "t", "url": "http://h/?k=v"}], "credential": None, "n": 5, "apiKey": "k", "Password": "p"}
    assert redacted(data) == {
        "a": [{"token": "***", "url": "http://h/?***"}],
        "credential": None,
        "n": 5,
        "apiKey": "***",
        "Password": "***",
    }

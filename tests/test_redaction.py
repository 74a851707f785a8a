"""Secrets stay out of what is shown."""

from __future__ import annotations

import pytest

from vision.redaction import is_secret, redacted, redacted_text, redacted_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/whep/x", "https://h/whep/x"),
        ("https://u:p@h:8443/whep?token=abc#frag", "https://***@h:8443/whep?***"),
        ("http://[::1]:80/a", "http://[::1]:80/a"),
        ("http://[x", "***"),
        ("http://h:99999/x?a=b", "***"),
    ],
)
def test_urls(url: str, shown: str) -> None:
    """User, password, query and fragment are hidden; host and path stay."""
    assert redacted_url(url) == shown
    assert redacted_text(f"cannot reach '{url}' now") == f"cannot reach '{shown}' now"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("whep: https://h/w: 404", "whep: https://h/w: 404"),
        ("it was https://h/w?a=b.", "it was https://h/w?***."),
        ("(see http://h/x)", "(see http://h/x)"),
        ("http://h/x?a='abc", "http://h/x?***"),
        ("\"http://h/x?a='abc'\"", '"http://h/x?***\'"'),
    ],
)
def test_urls_in_sentences(text: str, shown: str) -> None:
    """The sentence keeps its own marks, and a quote within a URL does not end it."""
    assert redacted_text(text) == shown


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        ("access_token", True),
        ("pwd", True),
        ("db_pwd", True),
        ("auth", True),
        ("bearer", True),
        ("ks", True),
        ("Key", True),
        ("key_frame", False),
        ("keyframe", False),
        ("author", False),
        ("blocks", False),
    ],
)
def test_keys_that_sound_secret(key: str, secret: bool) -> None:
    """Short words count only where they stand alone."""
    assert is_secret(key) is secret


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

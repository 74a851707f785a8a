"""Which hosts are this machine, or in a network of its own."""

from __future__ import annotations

import pytest

from vision.hosts import is_loopback, is_private


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("a.localhost", True),
        ("192.168.0.1", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_is_loopback(host: str, expected: bool) -> None:
    """Which hosts are this machine's own."""
    assert is_loopback(host) == expected


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
        "127.0.0.1",
        "0.0.0.0",
        "100.64.0.1",
        "100.127.255.255",
        "::1",
        "[::1]",
        "::",
        "fc00::1",
        "FD12::1",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:10.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0300.0250.1.1",
        "10.0.0.1.",
        "localhost",
        "LOCALHOST.",
        "a.localhost",
    ],
)
def test_private(host: str) -> None:
    """This machine and the networks that the internet does not route, however they are written."""
    assert is_private(host)


@pytest.mark.parametrize(
    "host",
    [
        "8.8.8.8",
        "172.15.255.255",
        "172.32.0.1",
        "100.63.255.255",
        "100.128.0.1",
        "192.167.1.1",
        "2001:db8::1",
        "::ffff:8.8.8.8",
        "fec0::1",
        "134744072",
        "media.example.com",
        "10.example.com",
        "localhost.example",
        "beef.cafe",
        "0x",
        "1.2.3.4.5",
        "",
    ],
)
def test_not_private(host: str) -> None:
    """Addresses of the internet, and names: where those lead is not looked up."""
    assert not is_private(host)

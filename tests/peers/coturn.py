"""Debian's coturn as the TURN server (`apt-get install coturn`), with long-term credentials, on 127.0.0.1 only."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.peers.tools import await_that, free_ports, listens, process, program

__all__ = ["PASSWORD", "USER", "Coturn", "certificate", "coturn", "dead_port", "silent_port"]

USER, PASSWORD = "avatar", "turn-s3cret-of-coturn"
_REMEDY = "apt-get install coturn"
_LIFETIME_S = 600


@dataclass(frozen=True, slots=True)
class Coturn:
    """A running server.

    :ivar port: of UDP and TCP.
    :ivar tls_port: of TLS over TCP, where it has a certificate.
    :ivar log: what it says, for it to be read while it runs.
    """

    port: int
    tls_port: int | None
    log: Path

    def url(self, transport: str = "udp", host: str = "127.0.0.1") -> str:
        """The URL of one transport."""
        return f"turn:{host}:{self.port}?transport={transport}"

    @property
    def tls_url(self) -> str:
        """The URL over TLS, by the name that its certificate has."""
        return f"turns:localhost:{self.tls_port}?transport=tcp"

    @property
    def allocated(self) -> int:
        """How many allocations it has made."""
        return len(re.findall(r"session \d+: new, realm=", self.log.read_text()))

    @property
    def given_back(self) -> int:
        """How many allocations were given back, by a refresh with the lifetime 0 (RFC 8656, 7.2)."""
        return len(re.findall(r"session \d+: refreshed, .*lifetime=0\b", self.log.read_text()))

    @property
    def forgotten(self) -> int:
        """How many allocations are gone and count against no quota any more: a second after they were given back."""
        return len(re.findall(r"session \d+: delete: realm=", self.log.read_text()))


@contextlib.contextmanager
def coturn(folder: Path, *extra: str, tls: tuple[Path, Path] | None = None) -> Iterator[Coturn]:
    """Run a server until the block ends; without the program the test is skipped.

    :param folder: for its log and its files.
    :param extra: further options, such as `--user-quota=1`.
    :param tls: its certificate and the key of it.
    """
    path = program("turnserver", _REMEDY)
    port, tls_port = free_ports(2, socket.SOCK_STREAM)
    log = folder / "coturn.log"
    options = [
        "-n",  # no configuration file
        "--listening-ip=127.0.0.1",
        "--relay-ip=127.0.0.1",
        "--allow-loopback-peers",
        f"--listening-port={port}",
        "--lt-cred-mech",
        "--fingerprint",
        "--realm=lab",
        f"--user={USER}:{PASSWORD}",
        "--no-cli",
        "--no-dtls",
        "--log-file=stdout",
        "--simple-log",
        "--verbose",
        f"--userdb={folder / 'users.sqlite'}",
        f"--pidfile={folder / 'coturn.pid'}",
        f"--max-allocate-lifetime={_LIFETIME_S}",
        *([f"--tls-listening-port={tls_port}", f"--cert={tls[0]}", f"--pkey={tls[1]}"] if tls else ["--no-tls"]),
        *extra,
    ]
    with process([path, *options], log):
        await_that(lambda: listens(port) and (tls is None or listens(tls_port)), f"coturn listens (its log: {log})")
        yield Coturn(port, tls_port if tls else None, log)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_path, key_path = folder / "certificate.pem", folder / "key.pem"
    certificate_path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_path, key_path


@contextlib.contextmanager
def silent_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> Iterator[int]:
    """A port of 127.0.0.1 that takes everything and says nothing."""
    with socket.socket(socket.AF_INET, kind) as silent:
        silent.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            silent.listen()
        yield int(silent.getsockname()[1])


def dead_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of 127.0.0.1 at which nobody is."""
    return free_ports(1, kind)[0]

"""A run speaks to its source and to nobody else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import ifaddr
import pytest

ROOT = Path(__file__).parent.parent
_ADDRESS = re.compile(r'sin6?_port=htons\((\d+)\).*?inet_(?:addr\(|pton\(AF_INET6, )"([^"]+)"')


@pytest.mark.slow
@pytest.mark.usefixtures("attention_model")
def test_a_run_reaches_nothing_but_its_source(tmp_path: Path) -> None:
    """All of the run's processes together: every address that is connected or sent to is one of this machine's own.

    ICE tries them all; what is sent to any of them goes over the loopback interface (`ip route get`).
    The same trace shows the run's own HTTP and media, so it would have shown anything else. A name server on the
    loopback interface would not do either: no port 53 is among them.
    """
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    run = [sys.executable, "-m", "vision", "run", str(ROOT / "configs" / "demo.yaml"), "--out", str(tmp_path / "out")]
    less = ["--duration", "3", "--set", "source.size=[320, 180]", "--set", "expect=[]"]
    done = subprocess.run(
        [strace, "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(trace), *run, *less],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    reached = set(_ADDRESS.findall(trace.read_text(errors="replace")))
    assert len(reached) >= 3, "the session API and both ends of the media at least"
    own = {str(ip.ip) for adapter in ifaddr.get_adapters() for ip in adapter.ips if ip.is_IPv4}
    assert {address for _, address in reached} <= {"127.0.0.1"} | own
    assert "53" not in {port for port, _ in reached}

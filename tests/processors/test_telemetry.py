"""MediaPipe's usage reports do not leave the machine; and without our measures they would."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

# `sealed` is the product as it is; the others take a measure away
MEASURES = {
    "none": "landmarker.offline = lambda create: create()",
    "sealed": "",
    "dead_proxy": "telemetry._give_up_sockets = lambda: False",
}

RUN = """
import sys, time
import numpy as np
from processors.face_landmarks import FaceLandmarksProcessor, landmarker, telemetry
from vision import ClockQuality, Frame, Picture, StreamInfo

{measures}
planes = [np.full(shape, 128, np.uint8) for shape in ((240, 320), (120, 160), (120, 160))]
picture = Picture(*planes)
for life in range(2):
    processor = FaceLandmarksProcessor(FaceLandmarksProcessor.Options(model_path=sys.argv[1]))
    processor.setup(StreamInfo(live=True))
    for i in range(60):
        processor.process(Frame(i, i / 30, i / 30, ClockQuality("file", 0.0), maybe_picture=picture))
    processor.reset("reconnect")
    processor.close()
time.sleep(0.5)
"""

linux = pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.machine() not in ("x86_64", "aarch64"),
    reason="seccomp is Linux's, and known here for x86_64 and aarch64",
)


def run(measures: str, model: Path, *tracer: str, **environment: str) -> None:
    """Run the processor through two lives of 60 pictures in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    environment = {**kept, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **environment}
    code = RUN.format(measures=MEASURES[measures])
    subprocess.run([*tracer, sys.executable, "-c", code, str(model)], env=environment, check=True, timeout=60)


class Sink:
    """A listener that stands in for the proxy, and counts who calls."""

    def __init__(self) -> None:
        self.calls = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, address = self._listener.accept()
            connection.close()
            if address == self._last_call:
                return
            self.calls += 1

    _last_call: tuple[str, int] | None = None

    def close(self) -> None:
        """Stop listening, once all who called were counted."""
        with socket.socket() as call:
            call.bind(("127.0.0.1", 0))
            self._last_call = call.getsockname()
            call.connect(self._listener.getsockname())
            self._thread.join()
        self._listener.close()


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A sink that the library takes for its way out."""
    sink = Sink()
    yield sink
    sink.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("measures", "calls"),
    [
        pytest.param("none", True, id="control"),
        pytest.param("sealed", False, marks=linux),
        ("dead_proxy", False),
    ],
)
def test_no_report_reaches_the_way_out(measures: str, calls: bool, sink: Sink, attention_model: Path) -> None:
    """Either measure alone keeps the report from a proxy that would carry it; with neither, it arrives there."""
    run(measures, attention_model, https_proxy=sink.url)
    assert (sink.calls > 0) == calls


@pytest.mark.slow
@linux
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.parametrize(("measures", "tries"), [pytest.param("none", True, id="control"), ("sealed", False)])
def test_no_socket_is_opened(measures: str, tries: bool, attention_model: Path, tmp_path: Path) -> None:
    """No network socket is opened, no address connected to, no name looked up; with no measures, there is."""
    trace = tmp_path / "trace"
    try:
        run(measures, attention_model, "strace", "-f", "-qq", "-e", "trace=network", "-o", str(trace))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"strace cannot trace here: {error}")
    lines = [line for line in trace.read_text().splitlines() if " = -1 EACCES" not in line]
    reached = [line for line in lines if any(f" {call}(" in line for call in ("connect", "sendto", "sendmmsg"))]
    opened = [line for line in lines if " socket(AF_INET" in line]
    assert bool(reached) == tries
    assert bool(opened) == tries


def in_child(code: str) -> str:
    """What code prints, in a process of its own: what these measures do cannot be taken back."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p))
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@linux
def test_the_seal_holds_for_its_threads_only() -> None:
    """Threads started inside cannot open a socket of any kind, pipes work there, and outside all is as before."""
    code = """
import os, socket, threading
from processors.face_landmarks.telemetry import offline

def attempt(family):
    try:
        socket.socket(family).close()
        return "open"
    except PermissionError:
        return "denied"

def inside():
    found = []
    def look():
        found.extend(attempt(f) for f in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX))
        for end in os.pipe():
            os.close(end)
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return found

print(*offline(inside), attempt(socket.AF_INET), os.environ.get("https_proxy"))
"""
    assert in_child(code) == "denied denied denied open None"


def test_without_a_seal_the_proxy_is_dead() -> None:
    """Where threads cannot be sealed the process gets a proxy that leads nowhere, without exceptions from it."""
    code = """
import os
from processors.face_landmarks import telemetry

os.environ["no_proxy"] = "*"
telemetry._give_up_sockets = lambda: False
telemetry.offline(lambda: None)
print(os.environ["https_proxy"], os.environ.get("no_proxy"))
"""
    assert in_child(code) == "none:// None"


def test_errors_pass_through() -> None:
    """An error inside is the caller's to see."""
    assert (
        in_child(
            "from processors.face_landmarks.telemetry import offline\n"
            "try:\n    offline(lambda: 1 // 0)\nexcept ZeroDivisionError as error:\n    print(error)"
        )
        == "integer division or modulo by zero"
    )

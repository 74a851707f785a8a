"""The receivers that are compared, each run in a process of its own that prints what it received as JSON.

`bare` is aiortc as it comes, with a task that takes every frame of both tracks. Its only change is an object that
leaves the RTP timestamps as they are, so that each frame can be told; its buffers are its own.
`ours` is the connector `whep` with an intake that notes what it is handed.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx
from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from pydantic import SecretStr

from vision.align import Aligner
from vision.children import child_environment, python_command
from vision.connectors.base import SourceContext
from vision.connectors.session_api import SessionApi
from vision.connectors.whep import WhepConnector
from vision.errors import SourceError, VisionError
from vision.intake import DecodedPicture, DecodedSound, Intake
from vision.sender_clock import SenderClock
from vision.simulator.process import Launched
from vision.stream import FrameStream

__all__ = ["RECEIVERS", "Received", "in_child", "receive_bare", "session"]

VIDEO_HZ, AUDIO_HZ = 90_000, 48_000
_WRAP = 1 << 32
_CHILD_PATIENCE_S = 30.0
_VISUAL_ID = "0123456789abcdef01234567"


@dataclass(slots=True)
class Received:
    """What came out of a receiver, in its order.

    :ivar pictures: RTP timestamp, and the time it was handed out, s on the machine's monotonic clock.
    :ivar sounds: the same for blocks of samples.
    :ivar error: why receiving ended early.
    """

    pictures: list[tuple[int, float]] = field(default_factory=list)
    sounds: list[tuple[int, float]] = field(default_factory=list)
    error: str | None = None


Receiver = Callable[[str, Received], Awaitable[None]]


class RawTimestamps:
    """In the place of aiortc's mapper, which counts from a receiver's first frame and forgets which one that was."""

    def map(self, timestamp: int) -> int:
        """The timestamp as it is."""
        return timestamp


async def receive_bare(url: str, received: Received) -> None:
    """Receive with aiortc alone, until cancelled or the stream ends."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
    try:
        transceivers = [peer.addTransceiver(kind, direction="recvonly") for kind in ("video", "audio")]
        for transceiver in transceivers:
            _use_loopback(transceiver)
            raw: Any = transceiver.receiver
            raw._RTCRtpReceiver__timestamp_mapper = RawTimestamps()
        await peer.setLocalDescription(await peer.createOffer())
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            headers = {"Content-Type": "application/sdp"}
            answer = await client.post(url, content=peer.localDescription.sdp, headers=headers)
            answer.raise_for_status()
        await peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        video, audio = (transceiver.receiver.track for transceiver in transceivers)
        await asyncio.gather(_drain(video, received.pictures), _drain(audio, received.sounds))
    finally:
        await peer.close()


async def _drain(track: MediaStreamTrack | None, into: list[tuple[int, float]]) -> None:
    assert track is not None
    while True:
        try:
            frame: Any = await track.recv()
        except MediaStreamError:
            return
        into.append((frame.pts, time.monotonic()))


def _use_loopback(transceiver: RTCRtpTransceiver) -> None:
    """aioice leaves 127.0.0.1 out, which is all that the simulator has."""
    connection: Any = transceiver.receiver.transport.transport._connection
    gather = type(connection).get_component_candidates

    async def on_loopback(component: int, addresses: list[str]) -> Any:
        return await gather(connection, component=component, addresses=["127.0.0.1"])

    connection.get_component_candidates = on_loopback


class Recorder(Intake):
    """Notes what is handed in, and keeps none of it."""

    def __init__(self, received: Received) -> None:
        super().__init__(SenderClock(["picture"]), Aligner(live=True, expects_sound=False), FrameStream(2, "latest"))
        self._received = received

    async def put(self, unit: DecodedPicture | DecodedSound) -> None:
        self.put_nowait(unit)

    def put_nowait(self, unit: DecodedPicture | DecodedSound) -> None:
        is_picture = isinstance(unit, DecodedPicture)
        rate_hz, into = (VIDEO_HZ, self._received.pictures) if is_picture else (AUDIO_HZ, self._received.sounds)
        self.last_media_s = self.now_s()
        into.append((round(unit.track_s * rate_hz) % _WRAP, time.monotonic()))


async def receive_ours(url: str, received: Received) -> None:
    """Receive with the connector `whep`, until cancelled or the stream ends."""
    connector = WhepConnector(WhepConnector.Options.model_validate({"url": url}), SourceContext())
    await connector.stream(Recorder(received))


RECEIVERS: dict[str, Receiver] = {"bare": receive_bare, "ours": receive_ours}


@asynccontextmanager
async def session(service: Launched) -> AsyncIterator[str]:
    """The WHEP endpoint of a new session of the simulator."""
    async with SessionApi(service.url) as api:
        created = await api.create(SecretStr(service.admin_ks), _VISUAL_ID)
        try:
            yield (await api.init_client(created.sessionId, created.token)).whepUrl
        finally:
            with suppress(SourceError):  # it may have ended by itself
                await api.end(created.sessionId, created.token)


async def in_child(module: str, *arguments: str, limit_s: float) -> Any:
    """Run a module of this package in a process of its own; returns what it prints, from JSON.

    :raises RuntimeError: when it fails; its complaints are in the message.
    """
    process = await asyncio.create_subprocess_exec(
        *python_command("-m", module, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=child_environment(),
    )
    try:
        async with asyncio.timeout(limit_s + _CHILD_PATIENCE_S):
            output, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        last = complaints.decode(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(f"{module} {' '.join(arguments)}: status {process.returncode}: {''.join(last)}")
    return json.loads(output)


async def _receive(name: str, url: str, seconds: float) -> Received:
    """Receive for so many seconds from the first thing that comes."""
    received = Received()
    receiving = asyncio.ensure_future(RECEIVERS[name](url, received))
    while not receiving.done() and not received.pictures and not received.sounds:
        await asyncio.wait([receiving], timeout=0.01)
    await asyncio.wait([receiving], timeout=seconds)
    received.error = "ended early" if receiving.done() else None
    receiving.cancel()
    await asyncio.wait([receiving])
    if not receiving.cancelled() and (error := receiving.exception()) is not None:
        received.error = str(error) if isinstance(error, VisionError) else repr(error)
    return received


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(_receive(sys.argv[1], sys.argv[2], float(sys.argv[3]))))))  # noqa: T201

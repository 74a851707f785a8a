"""A viewer for tests: real WebRTC over loopback, by aiortc alone."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCDtlsTransport, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame, VideoFrame

from vision.simulator import SimulatorSettings
from vision.simulator.service import serve

SDP = {"Content-Type": "application/sdp"}
SIZE = (160, 120)


@dataclass
class Watcher:
    """A viewer that keeps what it gets."""

    client: httpx.AsyncClient
    whep_url: str
    pictures: list[VideoFrame] = field(default_factory=list)
    sounds: list[AudioFrame] = field(default_factory=list)
    viewer_url: str = ""
    datagrams: list[bytes] = field(default_factory=list)
    """RTP and RTCP as they came, decrypted."""

    def __post_init__(self) -> None:
        config = RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        self.peer = RTCPeerConnection(config)
        self.news = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []
        self.peer.on("track", lambda track: self.tasks.append(asyncio.ensure_future(self._drain(track))))

    async def offer(self, *kinds: str) -> str:
        for kind in kinds or ("video", "audio"):
            self.peer.addTransceiver(kind, direction="recvonly")
        await self.peer.setLocalDescription(await self.peer.createOffer())
        return self.peer.localDescription.sdp

    async def watch(self, *kinds: str) -> str:
        """Connects; returns the answer."""
        return await self.accept(await self.client.post(self.whep_url, headers=SDP, content=await self.offer(*kinds)))

    async def accept(self, answer: httpx.Response) -> str:
        assert answer.status_code == 201
        assert answer.headers["content-type"].startswith("application/sdp")
        self.viewer_url = self.whep_url + "/viewer/" + answer.headers["location"].rsplit("/", 1)[1]
        self._keep_datagrams(self.peer.getReceivers()[0].transport)
        await self.peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        return answer.text

    def _keep_datagrams(self, transport: RTCDtlsTransport) -> None:
        handle_rtp, handle_rtcp = transport._handle_rtp_data, transport._handle_rtcp_data

        async def keep_rtp(data: bytes, arrival_time_ms: int) -> None:
            self.datagrams.append(data)
            await handle_rtp(data, arrival_time_ms)

        async def keep_rtcp(data: bytes) -> None:
            self.datagrams.append(data)
            await handle_rtcp(data)

        transport._handle_rtp_data, transport._handle_rtcp_data = keep_rtp, keep_rtcp  # type: ignore[method-assign]

    async def until(self, media_s: float) -> None:
        """Returns when the pictures have come to a media time."""
        await self.when(lambda: bool(self.pictures) and self.pictures[-1].time >= media_s)

    async def when(self, condition: Callable[[], bool]) -> None:
        """Returns when a condition holds on what has come."""
        async with asyncio.timeout(20):
            while not condition():
                self.news.clear()
                await self.news.wait()

    async def close(self) -> None:
        await self.peer.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _drain(self, track: MediaStreamTrack) -> None:
        kept: list[VideoFrame] | list[AudioFrame] = self.pictures if track.kind == "video" else self.sounds
        try:
            while True:
                kept.append(await track.recv())  # type: ignore[arg-type]
                self.news.set()
        except MediaStreamError:
            return


def run(settings: SimulatorSettings, truth: Path, scenario: Callable[[Callable[[], Watcher]], Awaitable[None]]) -> None:
    """Serves a session for the length of a scenario, which makes viewers for it."""

    async def main() -> None:
        listening: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()
        stop = asyncio.Event()
        async with asyncio.timeout(40), asyncio.TaskGroup() as tasks:
            tasks.create_task(
                serve(
                    settings,
                    host="127.0.0.1",
                    port=0,
                    truth=truth,
                    on_listening=lambda url, ks: listening.set_result((url, ks)),
                    stop=stop,
                )
            )
            url, ks = await listening
            async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
                body, headers = {"visualConfig": {"id": "a"}}, {"Authorization": f"KS {ks}"}
                session = (await client.post("/v1/avatar-session/create", headers=headers, json=body)).json()
                headers = {"Authorization": f"Bearer {session['token']}"}
                answer = await client.post(f"/v1/avatar-session/{session['sessionId']}/init-client", headers=headers)
                try:
                    await scenario(lambda: Watcher(client, answer.json()["whepUrl"]))
                finally:
                    stop.set()

    asyncio.run(main())

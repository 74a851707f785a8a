"""What works and what does not between here and a source: the source is opened as a run would open it, and watched."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from vision.align import Aligner
from vision.config import RunConfig
from vision.connectors.base import Connector, SourceContext
from vision.connectors.session_api import expiry_of
from vision.errors import VisionError, one_line
from vision.intake import Intake
from vision.stream import FrameStream

__all__ = ["Step", "examine"]

_REPORTS_S = 8.0  # sender reports of sound may take that long (Chromium's come every 5 s)
_LOOK_S = 0.05
_RELEASE_S = 10.0
_DAY_S, _HOUR_S, _MINUTE_S = 86_400, 3600, 60


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was looked at.

    :ivar ok: `None`: it is not as one would wish, and a run works all the same.
    """

    name: str
    ok: bool | None
    said: str


async def examine(config: RunConfig) -> AsyncGenerator[Step, None]:
    """Open the source, watch it start, release it; yields each step when its outcome is known.

    The last one that is not ok is why a run would fail. Nothing is kept.
    """
    connector_class, options = config.source.connector, config.source.options
    if (step := _token(getattr(options, "token", None))) is not None:
        yield step
    with tempfile.TemporaryDirectory() as folder:
        try:
            connector = await asyncio.to_thread(connector_class, options, SourceContext(Path(folder)))
        except Exception as error:  # it may be anybody's
            yield _failure(error)
            return
        aligner = Aligner(live=connector.live, expects_sound="sound" in connector.tracks(), speech=False)
        intake = Intake(connector.clock(), aligner, FrameStream(2, "latest"), thorough=True)
        limit_s = config.run.first_picture_timeout_s
        async with contextlib.aclosing(_Examination(connector, intake, limit_s).steps()) as steps:
            async for step in steps:
                yield step


class _Examination:
    """One start of a source."""

    def __init__(self, connector: Connector, intake: Intake, limit_s: float) -> None:
        self._connector, self._intake, self._limit_s = connector, intake, limit_s
        self._told: set[str] = set()

    async def steps(self) -> AsyncGenerator[Step, None]:
        streaming = asyncio.ensure_future(self._connector.stream(self._intake))
        try:
            begun_s: float | None = None
            while not streaming.done():
                for step in self._new():
                    yield step
                now_s = self._intake.now_s()
                if begun_s is None and self._begun():
                    begun_s = now_s
                if begun_s is None and now_s > self._limit_s:
                    yield Step("first picture", False, f"none within {self._limit_s:g} s (run.first_picture_timeout_s)")
                    return
                if begun_s is not None and (self._all_told() or now_s > begun_s + _REPORTS_S):
                    break
                await asyncio.sleep(_LOOK_S)
            for step in (*self._new(), *self._ended(streaming)):
                yield step
        finally:
            streaming.cancel()
            await asyncio.wait([streaming], timeout=_RELEASE_S)
            if streaming.done() and not streaming.cancelled():
                streaming.exception()  # seen

    def _begun(self) -> bool:
        """Whether media come: pictures, where any are announced."""
        facts = self._intake.facts
        if "startup" not in facts:
            return self._intake.last_media_s is not None  # a source that is no WebRTC
        wanted = "first_picture_s" if "video" in facts.get("negotiation", {"video": ()}) else "first_sound_s"
        return wanted in facts["startup"]

    def _all_told(self) -> bool:
        if "startup" not in self._intake.facts:
            return True
        return {"sender reports of video", "sender reports of audio"} <= self._told

    def _ended(self, streaming: asyncio.Future[str]) -> Iterator[Step]:
        """What remains to be said when it is over, or has been watched for long enough."""
        if streaming.done() and not streaming.cancelled() and (error := streaming.exception()) is not None:
            yield _failure(error)
            return
        for kind in ("video", "audio"):
            name = f"sender reports of {kind}"
            if "startup" in self._intake.facts and name not in self._told:
                yield Step(name, None, "none came; picture and sound are related by their arrival only")
        if "startup" in self._intake.facts and "first_sound_s" not in self._intake.facts["startup"]:
            yield Step("first sound", None, "none came")
        if "startup" not in self._intake.facts and self._intake.last_media_s is not None:
            yield Step("source", True, "opened, and gives pictures or sound")

    def _new(self) -> Iterator[Step]:
        """What has become known since it was last asked."""
        with contextlib.suppress(KeyError, TypeError):  # facts of another connector may look otherwise
            for step in _known(self._intake.facts):
                if step.name not in self._told:
                    self._told.add(step.name)
                    yield step


def _known(facts: Mapping[str, Any]) -> Iterator[Step]:
    """The steps that the facts so far tell of, in the order in which they are taken."""
    startup: Mapping[str, float] = facts.get("startup", {})
    if session := facts.get("session"):
        how = "created, and init-client" if session["own"] else "init-client"
        yield Step("session", True, f"{how} answered in {session['took_s']:.2f} s; TURN server {session['turn']}")
    for server in facts.get("turn", ()):
        # one that is of no help is not the end: another may be, or none be needed
        yield Step(server["url"], server["ok"] or None, server["said"])
    if negotiation := facts.get("negotiation"):
        took_s = startup["answered_s"] - startup["offered_s"]
        counter = ", with an offer of its own" if negotiation["answered_with"] == "offer" else ""
        codecs = [f"{kind} {', '.join(negotiation[kind])}" for kind in ("video", "audio") if kind in negotiation]
        yield Step("WHEP", True, f"answered in {took_s:.2f} s{counter}: {'; '.join(codecs)}")
    if (ice := facts.get("ice")) and (pair := ice["pair"]):
        rtt = f", {pair['rtt_ms']:.0f} ms there and back" if pair.get("rtt_ms") is not None else ""
        yield Step("path", True, f"{pair['local']} to {pair['remote']}{rtt}")
    connected_s = startup.get("connected_s")
    if connected_s is None:
        return
    yield Step("connection", True, f"{connected_s - startup['answered_s']:.2f} s after the answer (ICE and DTLS)")
    video, audio = facts.get("video", {}), facts.get("audio", {})
    if "first_packet_s" in startup:
        yield Step("first packet", True, f"{startup['first_packet_s'] - connected_s:.2f} s after that")
    if "first_picture_s" in startup and "width" in video:
        size = f"{video['width']}x{video['height']} {video['codec']}"
        yield Step("first picture", True, f"{size}, {startup['first_picture_s'] - connected_s:.2f} s after connecting")
    if "first_sound_s" in startup:
        yield Step("first sound", True, f"{audio['codec']}, {startup['first_sound_s'] - connected_s:.2f} s")
    for kind, known in (("video", video), ("audio", audio)):
        if known.get("sender_reports"):
            yield Step(f"sender reports of {kind}", True, "they come")


def _failure(error: BaseException) -> Step:
    return Step("source", False, str(error) if isinstance(error, VisionError) else one_line(error))


def _token(token: SecretStr | None, now_s: float | None = None) -> Step | None:
    """What a token says of itself, where it is a JSON Web Token."""
    if token is None:
        return None
    expiry_s = expiry_of(token.get_secret_value())
    if expiry_s is None:
        return Step("token", True, "given; it does not say when it expires")
    left_s = expiry_s - (time.time() if now_s is None else now_s)
    if left_s <= 0:
        return Step("token", False, f"expired {_length(-left_s)} ago; make a new one (source.token)")
    return Step("token", True, f"expires in {_length(left_s)}")


def _length(seconds: float) -> str:
    for unit_s, name in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {name}"
    return f"{seconds:.0f} s"

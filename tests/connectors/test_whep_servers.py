"""The ways of known WHEP servers: each row is a local server that behaves so, with a real peer behind it."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.connectors.sender import Sender, pictures, sound
from tests.connectors.server import Request, Server, reply
from tests.connectors.support import TOKEN, Collector, checked, made, run_clean
from vision.connectors import whep
from vision.connectors.whep import WhepConnector
from vision.errors import SourceError

SDP = "application/sdp"
Said = bytes | None  # None: no answer at all


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines as short as a local server allows."""
    monkeypatch.setattr(whep, "_PATCH_S", 0.5)
    monkeypatch.setattr(whep, "_BETWEEN_S", 0.01)


class Known:
    """A server that answers offers with 201 and lets go with 200; what differs is said by those that derive from it."""

    path = "/whep"
    token: str | None = None
    sees: tuple[str, ...] = ()  # methods and targets, in this order
    fails: str | None = None  # in words; else pictures come

    def __init__(self) -> None:
        self.media = Sender([pictures(), sound()], codec="video/H264")

    async def post(self, request: Request) -> Said:
        """Answer an offer."""
        return reply(201, await self.media.answer_to(request.body), Content_Type=SDP, Location="/whep/1")

    async def patch(self, request: Request) -> Said:
        """Answer an answer."""
        raise AssertionError("nobody asked for a PATCH")

    async def delete(self, request: Request) -> Said:
        """End the session."""
        return reply(200)

    def check(self, seen: list[Request]) -> None:
        """What the client's requests must look like besides."""

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        by_method = {"POST": self.post, "PATCH": self.patch, "DELETE": self.delete}
        said = await by_method[request.method](request)
        if said is None:
            await asyncio.Event().wait()
        else:
            writer.write(said)
            await writer.drain()


class MediaMtx(Known):
    """The query stays in the Location; the ETag is an asterisk without quotes; Link names ICE servers."""

    path, token = "/live/whep?key=s3cret-key", TOKEN
    sees = ("POST /live/whep?key=s3cret-key", "DELETE /live/whep/0f3a?key=s3cret-key")

    async def post(self, request: Request) -> Said:
        headers = {
            "Location": "/live/whep/0f3a?key=s3cret-key",
            "ETag": "*",
            "ID": "0f3a",
            "Accept_Patch": "application/trickle-ice-sdpfrag",
            "Link": '<stun:stun.example.com:19302>; rel="ice-server"',
        }
        return reply(201, await self.media.answer_to(request.body), Content_Type=SDP, **headers)

    def check(self, seen: list[Request]) -> None:
        assert all(request.headers["authorization"] == f"Bearer {TOKEN}" for request in seen)


class MediaMtxWithoutStream(Known):
    """404 with JSON, where the draft has 409, when nobody publishes."""

    sees = ("POST /whep",)
    fails = "404: there is no such stream, or nothing is being sent (it says: no stream is available on path 'live')"

    async def post(self, request: Request) -> Said:
        body = """{"status":"error","error":"no stream is available on path 'live'"}"""
        return reply(404, body, Content_Type="application/json; charset=utf-8")


class MediaMtxWithoutUser(Known):
    """401 that asks for Basic."""

    sees = ("POST /whep",)
    fails = "401: the token is missing or not accepted"

    async def post(self, request: Request) -> Said:
        return reply(
            401, '{"status":"error","error":"authentication error"}', WWW_Authenticate='Basic realm="mediamtx"'
        )


class JanusCounterOffer(Known):
    """406 with an offer of its own; the answer to that is a PATCH of the session, with its tag."""

    path, token = "/whep/endpoint/test", TOKEN
    sees = ("POST /whep/endpoint/test", "PATCH /whep/resource/abc", "DELETE /whep/resource/abc")
    status, patched = 406, 204

    async def post(self, request: Request) -> Said:
        headers = {"Location": "/whep/resource/abc", "ETag": '"tag-1"'}
        return reply(self.status, await self.media.offers(), Content_Type=SDP, **headers)

    async def patch(self, request: Request) -> Said:
        await self.media.takes(request.body)
        return reply(self.patched)

    def check(self, seen: list[Request]) -> None:
        _, patch, _ = seen
        assert all(request.headers["authorization"] == f"Bearer {TOKEN}" for request in seen)
        assert patch.headers["content-type"] == SDP
        assert patch.headers["if-match"] == '"tag-1"'
        assert patch.body.count("a=recvonly") == 2
        assert "a=setup:actpass" not in patch.body


class JanusLabelledWrongly(JanusCounterOffer):
    """An offer that is labelled an answer: Janus before 1.1.4."""

    status = 201


class JanusWithoutToken(Known):
    """403, where the draft has 401."""

    sees = ("POST /whep",)
    fails = "403: the token is missing or not accepted (source.token) (it says: Unauthorized)"

    async def post(self, request: Request) -> Said:
        return reply(403, "Unauthorized")


class JanusUnavailable(Known):
    """503 for a while."""

    sees = ("POST /whep", "POST /whep", "DELETE /whep/1")

    def __init__(self) -> None:
        super().__init__()
        self.refused = False

    async def post(self, request: Request) -> Said:
        if not self.refused:
            self.refused = True
            return reply(503, "Janus unavailable")
        return await super().post(request)


class Cloudflare(JanusCounterOffer):
    """Takes the answer to its offer and never says so."""

    status = 201

    async def patch(self, request: Request) -> Said:
        await self.media.takes(request.body)
        return None


class Srs(Known):
    """The session is a query, at the path of the other protocol, and there is no tag."""

    path = "/rtc/v1/whep/?app=live&stream=livestream"
    sees = (f"POST {path}", "DELETE /rtc/v1/whip/?action=delete&token=b7c1&app=live&stream=livestream")

    async def post(self, request: Request) -> Said:
        location = "/rtc/v1/whip/?action=delete&token=b7c1&app=live&stream=livestream"
        return reply(201, await self.media.answer_to(request.body), Content_Type=SDP, Location=location)


class Millicast(Known):
    """Ice-lite; it looks at Accept, and links to extensions."""

    path, token = "/api/whep/account/stream", TOKEN
    sees = ("POST /api/whep/account/stream", "DELETE /api/whep/1")

    async def post(self, request: Request) -> Said:
        answer = (await self.media.answer_to(request.body)).replace("t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n")
        headers = {"Location": "/api/whep/1", "Link": '<https://x/events>; rel="urn:ietf:params:whep:ext:core:layer"'}
        return reply(201, answer, Content_Type=SDP, **headers)

    def check(self, seen: list[Request]) -> None:
        assert seen[0].headers.get("accept", "*/*") == "*/*"


class MillicastWithoutStream(Known):
    """Errors in plain text."""

    sees = ("POST /whep",)
    fails = "400: the server cannot use the offer (it says: stream not being published)"

    async def post(self, request: Request) -> Said:
        return reply(400, "stream not being published\n", Content_Type="text/plain")


class BroadcastBox(Known):
    """The Location is that of the endpoint, which knows no DELETE; Link has no scheme."""

    path = "/api/whep"
    sees = ("POST /api/whep", "DELETE /api/whep")

    async def post(self, request: Request) -> Said:
        headers = {"Location": "/api/whep", "Link": '<stun.example.com:19302>; rel="ice-server"'}
        return reply(201, await self.media.answer_to(request.body), Content_Type=SDP, **headers)

    async def delete(self, request: Request) -> Said:
        return reply(405)


class GstreamerBadOffer(Known):
    """406 without a description: no counter-offer, but a refusal."""

    sees = ("POST /whep",)
    fails = "406: the server cannot use the offer (it says: no common codec)"

    async def post(self, request: Request) -> Said:
        return reply(406, "no common codec")


class GstreamerCounterOffer(JanusCounterOffer):
    """406 and PATCH without any tag."""

    async def post(self, request: Request) -> Said:
        offer = await self.media.offers()
        return reply(406, offer, Content_Type=SDP, Location="/whep/resource/abc", Access_Post=SDP)

    def check(self, seen: list[Request]) -> None:
        assert "if-match" not in seen[1].headers


class GstreamerWithoutPatch(JanusCounterOffer):
    """An offer, and no way to answer it."""

    fails = "501: the server made an offer, but takes no answer"

    async def patch(self, request: Request) -> Said:
        return reply(501)


class Red5(JanusCounterOffer):
    """An offer for every POST; 201 for its answer."""

    status, patched = 201, 201


class Avatar(Known):
    """One viewer only, who may not have left yet; the Location lacks the prefix that the server is behind."""

    path = "/avatar/whep/session/1"
    sees = ("POST /avatar/whep/session/1",) * 2 + ("DELETE /avatar/whep/session/1/viewer/2",)

    def __init__(self) -> None:
        super().__init__()
        self.has_viewer = True

    async def post(self, request: Request) -> Said:
        if self.has_viewer:
            self.has_viewer = False
            return reply(409, "already has a viewer", Retry_After="0")
        answer = await self.media.answer_to(request.body)
        return reply(201, answer, Content_Type=SDP, Location="/whep/session/1/viewer/2")


class AvatarWithoutPicture(Known):
    """201 with video that is inactive: the server has no codec that was offered."""

    sees = ("POST /whep", "DELETE /whep/1")
    fails = "inactive video"

    async def post(self, request: Request) -> Said:
        answer = (await self.media.answer_to(request.body)).replace("a=sendonly", "a=inactive", 1)
        await self.media.close()
        return reply(201, answer, Content_Type=SDP, Location="/whep/1")


KNOWN = [
    MediaMtx,
    MediaMtxWithoutStream,
    MediaMtxWithoutUser,
    JanusCounterOffer,
    JanusLabelledWrongly,
    JanusWithoutToken,
    JanusUnavailable,
    Cloudflare,
    Srs,
    Millicast,
    MillicastWithoutStream,
    BroadcastBox,
    GstreamerBadOffer,
    GstreamerCounterOffer,
    GstreamerWithoutPatch,
    Red5,
    Avatar,
    AvatarWithoutPicture,
]


@pytest.mark.parametrize("kind", KNOWN)
def test_a_known_server(kind: type[Known], caplog: pytest.LogCaptureFixture) -> None:
    """Pictures come, or one line says why not; the session is left, and nothing else is asked of the server."""

    async def scenario() -> None:
        known, intake = kind(), Collector()
        async with Server(known) as server:
            source = made(WhepConnector, url=f"{server.url}{known.path}", token=known.token)
            streaming = asyncio.create_task(source.stream(intake))
            while not intake.pictures and not streaming.done():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            streaming.cancel()
            await asyncio.wait([streaming])
            await known.media.close()
            if known.fails is None:
                assert streaming.cancelled()
            else:
                error = streaming.exception()
                assert isinstance(error, SourceError)
                assert known.fails in checked(str(error))
            assert tuple(f"{request.method} {request.target}" for request in server.requests) == known.sees
            known.check(server.requests)

    with caplog.at_level(logging.WARNING, "vision"):
        run_clean(scenario())
    assert not caplog.records

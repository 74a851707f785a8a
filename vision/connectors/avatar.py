"""The connector `avatar`: a session of the vendor's API, then its WHEP stream."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, HttpUrl, SecretStr

from vision.connectors.base import Connector
from vision.connectors.http import Token
from vision.connectors.peer import PeerOptions
from vision.connectors.session_api import SessionApi
from vision.connectors.whep import receive_whep
from vision.intake import Intake

__all__ = ["AvatarConnector", "AvatarOptions", "receive_session"]


def _base(url: HttpUrl) -> HttpUrl:
    if url.query is not None or url.fragment is not None:
        raise ValueError("paths are put behind it: it can have no query and no fragment")
    return url


class AvatarOptions(PeerOptions):
    """Options of `avatar`."""

    base_url: Annotated[HttpUrl, AfterValidator(_base)] = Field(
        HttpUrl("https://api.avatar.us.kaltura.ai"), description="the session API"
    )
    # a part of a path: no slashes, and neither . nor .., which lead elsewhere
    session_id: str = Field(pattern=r"^[.]{0,2}[A-Za-z0-9_~-][A-Za-z0-9_.~-]*$", description="a session created before")
    token: Token = Field(description="the session's token, from create-session")


class AvatarConnector(Connector):
    """Pictures and samples of an avatar session that somebody else has created, and will end."""

    Options = AvatarOptions

    async def stream(self, intake: Intake) -> str:
        options: AvatarOptions = self.options
        async with SessionApi(str(options.base_url)) as api:
            return await receive_session(api, options.session_id, options.token, options, intake)


async def receive_session(
    api: SessionApi, session_id: str, token: SecretStr, options: PeerOptions, intake: Intake
) -> str:
    """init-client, then the WHEP stream that it names; the WHEP endpoint gets no token, as the vendor does it."""
    setup = await api.init_client(session_id, token)
    return await receive_whep(setup.whepUrl, None, options, [setup.turn.ice_server()], intake)

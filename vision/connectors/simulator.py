"""The connector `simulator`: the local avatar service, consumed like any other avatar."""

from __future__ import annotations

from pydantic import SecretStr

from vision.connectors.avatar import Own, SessionOptions, watch_session
from vision.connectors.base import Connector
from vision.connectors.session_api import SessionApi
from vision.intake import Intake
from vision.simulator.process import launched
from vision.simulator.settings import SimulatorSettings

__all__ = ["SimulatorConnector", "SimulatorOptions"]

_VISUAL_ID = "0123456789abcdef01234567"


class SimulatorOptions(SessionOptions, SimulatorSettings):
    """Options of `simulator`: those of the service, and those of the connection to it."""

    def settings(self) -> SimulatorSettings:
        """The service's own part."""
        return SimulatorSettings(**self.model_dump(include=set(SimulatorSettings.model_fields)))


class SimulatorConnector(Connector):
    """Starts the simulator in a process of its own and goes the whole way: session API, WHEP, WebRTC.

    What was drawn is written into truth.jsonl of the run's folder.
    """

    Options = SimulatorOptions

    async def stream(self, intake: Intake) -> str:
        options: SimulatorOptions = self.options
        truth = self.context.folder / "truth.jsonl" if self.context.folder else None
        async with launched(options.settings(), truth) as service, SessionApi(service.url) as api:
            session = Own(api, SecretStr(service.admin_ks), _VISUAL_ID)
            return await watch_session(session, options, intake, local=True, open_ended=self.context.open_ended)

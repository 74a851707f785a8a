"""A local avatar service: the vendor's session API and WHEP, a drawn talking head, known faults, ground truth."""

from vision.simulator.process import Launched, launched
from vision.simulator.settings import Fault, SimulatorSettings

__all__ = ["Fault", "Launched", "SimulatorSettings", "launched"]

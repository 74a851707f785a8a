"""The encoder: what it makes of pictures depends on nothing else."""

from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import pytest

from tests.processors.footage import simulated
from vision.simulator.encoder import PictureEncoder
from vision.simulator.settings import Fault, SimulatorSettings


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["h264", "vp8"])
def test_the_same_pictures_give_the_same_packets(codec: Literal["h264", "vp8"]) -> None:
    """However busy the machine is: an encoder that saves time where it has little would make each run another."""
    noise = Fault(kind="noise", start_s=0.5, duration_s=3)
    settings = SimulatorSettings(size=(1280, 720), codec=codec, seed=3, faults=[noise])
    pictures = list(simulated(settings, 4))

    def packets(_: int = 0) -> list[bytes]:
        encoder = PictureEncoder(settings)
        return [bytes(encoder.encode(image, time_s)) for time_s, image in pictures]

    alone = packets()
    with ThreadPoolExecutor() as pool:  # encoding lets other threads go on
        together = list(pool.map(packets, range(4)))
    assert all(each == alone for each in together)

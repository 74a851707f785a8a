"""One viewer's production line: pictures and sound, encoded in order, ahead of their time, in a worker thread."""

from dataclasses import dataclass
from typing import Any

import av

from vision.simulator.director import Director
from vision.simulator.encoder import BLOCK_SAMPLES, OPUS_DELAY_SAMPLES, PictureEncoder, SoundEncoder
from vision.simulator.faults import FaultPlan
from vision.simulator.settings import SimulatorSettings
from vision.simulator.show import make_show
from vision.simulator.soundtrack import Soundtrack
from vision.simulator.truth import Truth
from vision.simulator.turns import Turns
from vision.simulator.voice import SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class Parcel:
    """A packet to be sent at `due_s` on the media clock; `time_s` is its own media time."""

    packet: "av.Packet[Any]"
    time_s: float
    due_s: float
    truth: Truth | None = None


class Studio:
    """Makes the parcels of one viewer. Each method is called from one thread at a time."""

    def __init__(self, settings: SimulatorSettings, turns: Turns) -> None:
        self._fps = settings.fps
        self._faults = FaultPlan(settings.faults, settings.offset_ms)
        show = make_show(settings, turns)
        self._soundtrack = Soundtrack(show.sound, self._faults, settings.seed)
        self._director = Director(show, self._faults, settings.seed)
        self._picture_encoder = PictureEncoder(settings)
        self._sound_encoder = SoundEncoder()
        self._picture_index = 0
        self._block_index = 0
        self._key_frame_wanted = False

    def want_key_frame(self) -> None:
        """Makes the next picture a key frame. Safe to call from any thread."""
        self._key_frame_wanted = True

    def next_picture(self) -> Parcel:
        """The next picture that is not dropped."""
        while True:
            time_s = self._picture_index / self._fps
            self._picture_index += 1
            shot = self._director.shot(time_s)
            if shot is not None:
                break
        key_frame, self._key_frame_wanted = self._key_frame_wanted, False
        packet = self._picture_encoder.encode(shot.i420, time_s, key_frame)
        return Parcel(packet, time_s, time_s + self._faults.sending_delay_s(time_s), shot.truth)

    def next_sound(self) -> Parcel:
        """The next 20 ms of sound that does not fall into a gap."""
        while True:
            first_sample = self._block_index * BLOCK_SAMPLES
            time_s = first_sample / SAMPLE_RATE_HZ
            self._block_index += 1
            if not self._faults.active("audio_gap", time_s):
                break
        sound = self._soundtrack.at(first_sample + OPUS_DELAY_SAMPLES, BLOCK_SAMPLES)
        return Parcel(self._sound_encoder.encode(sound, first_sample), time_s, time_s)

"""Flash and beep: both are where they are said to be, encoded and decoded, whatever the settings."""

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
from av.audio.codeccontext import AudioCodecContext
from av.video.codeccontext import VideoCodecContext

from vision.simulator import Fault, SimulatorSettings
from vision.simulator.director import Director, Shot
from vision.simulator.effects import Sound
from vision.simulator.encoder import BLOCK_SAMPLES, VIDEO_CLOCK_HZ
from vision.simulator.faults import FaultPlan
from vision.simulator.flash import FlashAndBeep
from vision.simulator.picture import Planes
from vision.simulator.soundtrack import Soundtrack
from vision.simulator.studio import Parcel, Studio
from vision.simulator.turns import Turns
from vision.simulator.voice import SAMPLE_RATE_HZ

SIZE = (160, 120)
MS = 1e-3


def settings(**changes: object) -> SimulatorSettings:
    """A small flash and beep."""
    return SimulatorSettings.model_validate({"show": "flash_and_beep", "size": SIZE, **changes})


def made(make: Callable[[], Parcel], until_s: float) -> list[Parcel]:
    """The parcels of a track up to a media time."""
    parcels = [make()]
    while parcels[-1].time_s < until_s:
        parcels.append(make())
    return parcels


def stamp(parcel: Parcel) -> int:
    """The time stamp of a packet, in ticks of its track's clock."""
    assert parcel.packet.pts is not None
    return parcel.packet.pts


def flashes_s(parcels: list[Parcel], codec: Literal["h264", "vp8"]) -> list[float]:
    """When decoded pictures turn bright, s."""
    decoder = VideoCodecContext.create(codec, "r")
    lumas = []
    for parcel in parcels:
        (frame,) = decoder.decode(parcel.packet)
        i420 = np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8)
        lumas.append(float(Planes.of(i420).y.mean()))
    return [
        stamp(parcel) / VIDEO_CLOCK_HZ
        for (before, now), parcel in zip(pairwise(lumas), parcels[1:], strict=True)
        if now > 225 > before
    ]


def beeps_s(parcels: list[Parcel]) -> list[float]:
    """When the tone sets in, in what a decoder plays at each packet's time stamp, s."""
    decoder = AudioCodecContext.create("opus", "r")
    decoder.sample_rate = SAMPLE_RATE_HZ
    played = np.zeros(stamp(parcels[-1]) + BLOCK_SAMPLES)
    for parcel in parcels:
        (frame,) = decoder.decode(parcel.packet)
        played[stamp(parcel) :][:BLOCK_SAMPLES] = frame.to_ndarray()[0]
    loud = np.flatnonzero(abs(played) > 0.25)
    return [float(at) / SAMPLE_RATE_HZ for at in loud[np.diff(loud, prepend=-SAMPLE_RATE_HZ) > SAMPLE_RATE_HZ // 10]]


@pytest.mark.parametrize(
    ("changes", "expected_s"),
    [
        ({}, [1.0, 2.0]),
        ({"codec": "vp8", "fps": 25}, [1.0, 2.0]),
        ({"fps": 29.97}, [30 / 29.97, 60 / 29.97]),
        ({"fps": 12.5}, [13 / 12.5, 2.0]),
    ],
)
@pytest.mark.parametrize("offset_ms", [0.0, 45.0, -120.0])
def test_the_beep_is_decoded_within_a_millisecond_of_the_flash(
    changes: dict[str, object], expected_s: list[float], offset_ms: float
) -> None:
    """The first bright picture comes at the full second, the beep with it, or by the offset later."""
    chosen = settings(offset_ms=offset_ms, **changes)
    studio = Studio(chosen, Turns())
    flashes = flashes_s(made(studio.next_picture, 2.3), chosen.codec)
    beeps = beeps_s(made(studio.next_sound, 2.3))
    assert flashes == pytest.approx(expected_s, abs=0.02 * MS)  # a tick of RTP's 90 kHz
    assert beeps == pytest.approx([flash + offset_ms * MS for flash in flashes], abs=1 * MS)


def test_faults_move_the_beep() -> None:
    """An offset and a drift apply as they stand at the moment of the beep."""
    faults = [
        {"kind": "offset", "start_s": 0.5, "duration_s": 1, "offset_ms": 80},
        {"kind": "drift", "start_s": 1.5, "duration_s": 2, "ms_per_minute": -6000},
    ]
    beeps = beeps_s(made(Studio(settings(faults=faults), Turns()).next_sound, 3.3))
    drifting = [1.5 + (second - 1.5) / 1.1 for second in (2, 3)]  # t - 2 s = -(t - 1.5 s) / 10, the same for 3 s
    assert beeps == pytest.approx([1.08, *drifting], abs=1 * MS)


def sound(*faults: Fault) -> Sound:
    """The sound of two seconds, before encoding."""
    return Soundtrack(FlashAndBeep(settings()).sound, FaultPlan(faults), seed=1).at(0, 2 * SAMPLE_RATE_HZ)


def test_the_tone_is_exact_to_the_sample() -> None:
    """1 kHz at half scale from the sample of the full second on, for 100 ms; nothing but the room elsewhere."""
    heard = sound()
    tone = 0.5 * np.sin(2 * np.pi * np.arange(4800) / 48)
    np.testing.assert_allclose(heard[48_000:52_800], tone, atol=0.003)
    assert abs(np.delete(heard, np.arange(48_000, 52_800))).max() < 0.003


def shots(*faults: Fault, start_s: float = 0.9, count: int = 12, **changes: object) -> list[Shot | None]:
    """Pictures 1/30 s apart, each with memory of its own."""
    director = Director(FlashAndBeep(settings(**changes)), FaultPlan(faults), seed=1)
    taken = [director.shot(start_s + index / 30) for index in range(count)]
    return [None if shot is None else Shot(shot.i420.copy(), shot.truth) for shot in taken]


def bright(shot: Shot) -> bool:
    """Whether a picture is of a flash: all of it bright, or none of it."""
    luma = Planes.of(shot.i420).y
    assert luma.min() == luma.max() == 235 or luma.max() < 150
    return int(luma[0, 0]) == 235


def test_three_pictures_flash_and_the_truth_says_so() -> None:
    """At 30 pictures a second those of 1.0, 1.033 and 1.067 s are bright, in the ninth hour as well."""
    for hour in (0, 9):
        taken = [shot for shot in shots(start_s=3600 * hour + 0.9) if shot is not None]
        expected = [3 <= index < 6 for index in range(12)]
        assert [bright(shot) for shot in taken] == expected
        assert [shot.truth.mouth_opening for shot in taken] == [float(flash) for flash in expected]
        assert [shot.truth.speaking for shot in taken] == expected
        assert {shot.truth.blink for shot in taken} == {0.0}


def test_the_first_second_has_no_flash() -> None:
    """The stream begins dark."""
    assert not any(bright(shot) for shot in shots(start_s=0.0) if shot is not None)


def test_the_dark_moves_and_is_dark() -> None:
    """The texture has a mean of about 50, and no picture of it is like the one before, at 60 a second either."""
    texture = FlashAndBeep(settings(size=(320, 240)))
    lumas = [Planes.of(texture.picture(texture.face(k / 60), k / 60)).y.astype(int) for k in range(60)]
    assert np.mean(lumas) == pytest.approx(50, abs=2)
    assert min(abs(now - before).mean() for before, now in pairwise(lumas)) > 2


def test_the_dark_costs_bits_within_the_bit_rate() -> None:
    """A picture between flashes takes a few packets, and the stream no more than it may."""
    parcels = made(Studio(settings(size=(320, 240), bitrate_bps=500_000), Turns()).next_picture, 3.9)
    sizes = np.array([parcel.packet.size for parcel in parcels])
    assert np.median(sizes) > 1000
    assert 8 * sizes.sum() / 4 < 550_000


def test_the_truth_of_the_sound_goes_by_its_offset() -> None:
    """`speaking` is true where the tone sounds, which with an offset is not where the picture is bright."""
    late = Fault(kind="offset", start_s=0, duration_s=9, offset_ms=100)
    spoken = [shot.truth.speaking for shot in shots(late) if shot is not None]
    assert spoken == [6 <= index < 9 for index in range(12)]


def test_the_other_faults_work() -> None:
    """A freeze keeps the flash away, a drop its pictures, `mouth_still` it alone; black hides it."""
    frozen = shots(Fault(kind="freeze", start_s=0.95, duration_s=0.3), count=9)
    assert not any(bright(shot) for shot in frozen if shot is not None)
    assert [shot.truth.mouth_opening for shot in frozen if shot is not None] == [0.0] * 9
    assert any(shot.truth.speaking for shot in frozen if shot is not None)
    dropped = shots(Fault(kind="drop", start_s=1.0, duration_s=0.1))
    assert [shot is None for shot in dropped] == [3 <= index < 6 for index in range(12)]
    still = shots(Fault(kind="mouth_still", start_s=0.5, duration_s=1))
    assert not any(bright(shot) or shot.truth.mouth_opening for shot in still if shot is not None)
    black = shots(Fault(kind="black", start_s=0.5, duration_s=1))
    assert all(np.all(Planes.of(shot.i420).y == 16) for shot in black if shot is not None)
    assert any(shot.truth.mouth_opening for shot in black if shot is not None)


def test_a_flash_without_a_beep() -> None:
    """`mouth_moving` flashes with the room alone, `silence` with nothing at all."""
    mimed = Fault(kind="mouth_moving", start_s=0.5, duration_s=1)
    assert any(bright(shot) for shot in shots(mimed) if shot is not None)
    assert not any(shot.truth.speaking for shot in shots(mimed) if shot is not None)
    assert abs(sound(mimed)).max() < 0.003
    assert not sound(Fault(kind="silence", start_s=0.5, duration_s=1))[24_000:72_000].any()

"""frame_quality: faults that are planted in encoded streams, and none where there are none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Literal

import av
import numpy as np
import pytest

from processors.frame_quality import FrameQuality, FrameQualityProcessor
from tests.processors.footage import FPS, Image, as_picture, filling, simulated
from tests.processors.streams import CLOCK, frame_of, incidents, sent
from vision import Frame
from vision.simulator.effects import PICTURE_EFFECTS
from vision.simulator.settings import Fault, FaultKind, SimulatorSettings

Codec = Literal["h264", "vp8"]
SIZE = (320, 240)


def shown(images: Iterable[Image], fps: float = FPS) -> Iterator[Frame]:
    """Pictures as they are."""
    for index, image in enumerate(images):
        yield Frame(index, index / fps, index / fps, CLOCK, maybe_picture=as_picture(image))


def measured(frames: Iterable[Frame]) -> list[FrameQuality]:
    """What the processor says."""
    processor = FrameQualityProcessor()
    return [processor.process(frame) for frame in frames]


def flat(y: int, size: tuple[int, int] = SIZE) -> Image:
    """One grey."""
    w, h = size
    return np.concatenate([np.full((h, w), y, np.uint8), np.full((h // 2, w), 128, np.uint8)])


def detailed(seed: int, size: tuple[int, int] = SIZE) -> Image:
    """Random samples from 100 to 140, luma and chroma."""
    w, h = size
    return np.random.default_rng(seed).integers(100, 140, (h * 3 // 2, w), np.uint8)


# --- what the simulator plants ---------------------------------------------------------------------------------------

PLANTED: tuple[FaultKind, ...] = ("blur", "freeze", "noise", "black", "blockiness")


def planted(seed: int, kinds: Iterable[FaultKind]) -> list[Fault]:
    """One fault of each kind, 0.6 to 1.6 s long, that far apart, in any order, at no particular time."""
    rng = np.random.default_rng(seed)
    faults, time_s = list[Fault](), 1 + rng.random()
    for kind in rng.permutation(np.array(list(kinds))):
        fault = Fault(kind=str(kind), start_s=time_s, duration_s=0.6 + rng.random())
        faults.append(fault)
        time_s = fault.end_s + 0.6 + rng.random()
    return faults


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "codec", "seed", "kinds"),
    [
        ((1280, 720), "h264", 1, PLANTED),
        ((640, 360), "h264", 3, PLANTED),
        ((640, 360), "vp8", 4, PLANTED),
        # at 720p the encoder takes a second to recover from noise, in which pictures that are frozen change
        ((1280, 720), "vp8", 5, ("blur", "noise", "black", "blockiness")),
    ],
)
def test_planted_faults_are_found(size: tuple[int, int], codec: Codec, seed: int, kinds: tuple[FaultKind, ...]) -> None:
    """Each kind once, from its first picture to the first one after it, each within 100 ms; and nothing else."""
    faults = planted(seed, kinds)
    settings = SimulatorSettings(size=size, codec=codec, seed=seed, faults=faults)
    found = incidents(sent(simulated(settings, faults[-1].end_s + 1), settings))
    assert [each.kind for each in sorted(found, key=lambda each: each.start_s)] == [fault.kind for fault in faults]
    for fault in faults:
        (incident,) = [each for each in found if each.kind == fault.kind]
        # a fault begins and ends with a picture: up to one after its time
        first, after = (np.ceil(time_s * FPS) / FPS for time_s in (fault.start_s, fault.end_s))
        repeated = 1 / FPS if fault.kind == "freeze" else 0  # the picture that is then repeated is still a new one
        assert incident.start_s == pytest.approx(first + repeated, abs=0.1), fault.kind
        assert incident.end_s == pytest.approx(after, abs=0.1), fault.kind
        assert incident.cause == "rendered"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("codec", "bitrate_bps", "size"),
    [
        ("h264", 2_500_000, (640, 360)),
        ("h264", 1_000_000, (640, 360)),
        ("vp8", 2_500_000, (640, 360)),
        ("vp8", 2_500_000, (1280, 720)),
    ],
)
def test_noise_ends_when_no_more_is_added(codec: Codec, bitrate_bps: int, size: tuple[int, int]) -> None:
    """Four times, at any phase of key frames: within 100 ms, though encoders take longer to get rid of what is left."""
    faults = [Fault(kind="noise", start_s=1 + 2.3 * n, duration_s=0.7 + 0.31 * n) for n in range(4)]
    settings = SimulatorSettings(size=size, codec=codec, bitrate_bps=bitrate_bps, seed=5, faults=faults)
    found = [each for each in incidents(sent(simulated(settings, 10), settings)) if each.kind == "noise"]
    assert [each.start_s for each in found] == pytest.approx([fault.start_s for fault in faults], abs=0.1)
    assert [each.end_s for each in found] == pytest.approx([fault.end_s for fault in faults], abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("codec", "bitrate_bps"), [("h264", 2_500_000), ("h264", 600_000), ("vp8", 1_000_000)])
def test_a_clean_stream_has_no_incident(codec: Codec, bitrate_bps: int) -> None:
    """A quarter of a minute of the simulator, at low bit rates too."""
    settings = SimulatorSettings(size=(640, 360), codec=codec, bitrate_bps=bitrate_bps, seed=11)
    assert incidents(sent(simulated(settings, 15), settings)) == []


@pytest.mark.slow
def test_real_footage_has_no_incident(media: Path) -> None:
    """Recorded talking heads, still and blurred moments included, give no incident of any kind."""
    for clip in sorted(media.glob("*.mp*g")) + sorted(media.glob("*.mp4")):
        with av.open(str(clip)) as container:
            frames = (frame_of(video, i, float(video.time or 0)) for i, video in enumerate(container.decode(video=0)))
            assert incidents(frames) == [], clip.name


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["blur", "noise", "blockiness", "black"])
@pytest.mark.parametrize("clip", ["sad_WDA_AlexandriaOcasioCortez_000.mp4", "vrt_5.mp4"])
def test_faults_are_found_in_real_footage(media: Path, clip: str, kind: FaultKind) -> None:
    """What the simulator plants in its own pictures is found in a coded clip, and only that."""
    settings, rng = SimulatorSettings(size=(640, 360)), np.random.default_rng(1)

    def images() -> Iterator[tuple[float, Image]]:
        for index, image in enumerate(filling(media / clip, settings.size, 90)):
            yield index / FPS, PICTURE_EFFECTS[kind](image, rng) if 30 <= index < 60 else image

    (found,) = incidents(sent(images(), settings))
    assert found.kind == kind
    assert [found.start_s, found.end_s] == pytest.approx([1.0, 2.0], abs=0.1)


def test_a_fade_is_no_blur() -> None:
    """A picture that fades to black and back has less and less detail, and is as sharp as it was."""
    picture = detailed(1)
    shares = np.concatenate([np.ones(30), np.linspace(1, 0, 30), np.linspace(0, 1, 30), np.ones(30)])
    faded = [np.rint(flat(16) + (picture - flat(16).astype(float)) * share).astype(np.uint8) for share in shares]
    assert {each.kind for each in incidents(shown(faded))} <= {"black", "freeze"}


def test_after_a_cut_something_else_is_usual() -> None:
    """A soft shot after a sharp one is a cut, and no blur; a blur of the same shot is one."""
    rng = np.random.default_rng(1)
    sharp = [detailed(1)] * 30
    soft = [PICTURE_EFFECTS["blur"](image + 80, rng) for image in sharp]
    assert [each.kind for each in incidents(shown(sharp + soft)) if each.kind != "freeze"] == ["scene_cut"]
    blurred = [PICTURE_EFFECTS["blur"](image, rng) for image in sharp]
    (found,) = [each for each in incidents(shown(sharp + blurred)) if each.kind != "freeze"]
    assert found.kind == "blur"
    assert found.start_s == pytest.approx(1.0)


# --- damage ----------------------------------------------------------------------------------------------------------


def encoded(images: Iterable[Image]) -> list[bytes]:
    """H264 packets, a key frame every 12 pictures, one slice each."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height = SIZE
    encoder.pix_fmt, encoder.bit_rate, encoder.thread_count = "yuv420p", 600_000, 1
    encoder.framerate, encoder.time_base = Fraction(FPS), Fraction(1, FPS)
    encoder.options = {"preset": "veryfast", "tune": "zerolatency", "x264-params": "keyint=12:min-keyint=12"}
    packets = []
    for index, image in enumerate(images):
        frame = av.VideoFrame.from_ndarray(image, format="yuv420p")
        frame.pts = index
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets + [bytes(packet) for packet in encoder.encode(None)]


def truncated(packet: bytes) -> bytes:
    """A packet whose slices end after a third."""
    starts = [match.start() for match in re.finditer(b"\0\0\1", packet)]
    units = [packet[start:end] for start, end in pairwise([*starts, len(packet)])]
    return b"".join(unit[: len(unit) // 3] if unit[3] & 31 in (1, 5) else unit for unit in units)


def decoded(packets: Iterable[bytes]) -> Iterator[Frame]:
    """One decoder's pictures."""
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count = 1
    videos = (video for packet in map(av.Packet, packets) for video in decoder.decode(packet))
    return (frame_of(video, index, index / FPS) for index, video in enumerate(videos))


@pytest.mark.parametrize("broken", [0, 17])
def test_a_truncated_slice_is_corruption(media: Path, broken: int) -> None:
    """From the picture whose slice does not end to the one before the next key frame, the first picture too."""
    packets = encoded(filling(media / "vrt_5.mp4", SIZE, 36))
    packets[broken] = truncated(packets[broken])
    results = measured(decoded(packets))
    next_key = (broken // 12 + 1) * 12
    assert [index for index, result in enumerate(results) if result.corruption] == list(range(broken, next_key))
    assert {each.kind for each in incidents(decoded(packets))} == {"corruption"}
    assert not any(result.corruption for result in measured(decoded(encoded(map(detailed, range(3))))))


def test_damage_is_the_network_s() -> None:
    """Damaged pictures, and those that build on them, are one incident of the run's own, up to the next key frame."""
    frames = list(shown(map(detailed, range(20))))
    for index, before in enumerate(frames):
        corrupt, key_frame = 5 <= index < 10, index in (0, 10)
        frames[index] = Frame(
            index, before.time_s, 0.0, CLOCK, key_frame=key_frame, corrupt=corrupt, maybe_picture=before.maybe_picture
        )
    (found,) = [each for each in incidents(frames) if each.kind == "corruption"]
    assert found.cause == "network"
    assert [found.start_s, found.end_s] == pytest.approx([5 / FPS, 10 / FPS], abs=1e-6)


@pytest.mark.parametrize(("name", "level"), [("green", 0), ("magenta", 255)])
def test_green_and_magenta_patches_are_corruption(name: str, level: int) -> None:
    """A patch of zeroed or saturated chroma is the sender's, whose decoder showed memory that it had not filled."""
    images = [detailed(index) for index in range(20)]
    for image in images[5:12]:
        as_picture(image).u[:12, :40] = as_picture(image).v[:12, :40] = level
    results = measured(shown(images))
    assert [index for index, result in enumerate(results) if result.discoloured] == list(range(5, 12)), name
    assert results[5].green_ratio == pytest.approx(12 * 40 / (120 * 160), rel=0.01)
    (found,) = [each for each in incidents(shown(images)) if each.kind == "corruption"]
    assert found.cause == "rendered"
    assert [found.start_s, found.end_s] == pytest.approx([5 / FPS, 12 / FPS], abs=1e-6)


def test_a_green_screen_is_no_corruption() -> None:
    """Pure green of video (145, 54, 34) all over the picture is a colour like others."""
    image = flat(145)
    as_picture(image).u[:], as_picture(image).v[:] = 54, 34
    (result,) = measured(shown([image]))
    assert (result.green_ratio, result.discoloured) == (0.0, False)


# --- cuts, flashes, sizes --------------------------------------------------------------------------------------------


def test_a_cut_is_told_and_black_is_none(media: Path) -> None:
    """From one clip to another there is one cut; into black and out of it there is none."""
    one, other = ([*filling(media / name, SIZE, 15)] for name in ("vrt_5.mp4", "r3d_May_5s.mp4"))
    black = [flat(16)] * 6
    cuts = [index for index, each in enumerate(measured(shown(one + other + black + one))) if each.scene_cut]
    assert cuts == [15]


def blinking(changes: int, low: int, high: int, share: float = 1.0) -> list[Image]:
    """A second and a half in which part of a picture changes so often, every fourth picture."""
    images = []
    for index in range(45):
        image = flat(low)
        if (min(index, 4 * changes) // 4) % 2:
            image[: round(SIZE[1] * share)] = high
        images.append(image)
    return images


FLASHES: list[tuple[str, Callable[[], list[Image]], bool]] = [
    ("four flashes", lambda: blinking(8, 40, 200), True),
    ("three flashes", lambda: blinking(6, 40, 200), False),
    ("a sixth of the picture", lambda: blinking(8, 40, 200, share=1 / 6), False),
    ("a third of the picture", lambda: blinking(8, 40, 200, share=1 / 3), True),
    ("a tenth of luminance is not reached", lambda: blinking(8, 40, 80), False),
    ("the darker is bright", lambda: blinking(8, 222, 235), False),
]


@pytest.mark.parametrize(
    ("images", "harmful"), [(make, harmful) for _, make, harmful in FLASHES], ids=[n for n, *_ in FLASHES]
)
def test_flashes(images: Callable[[], list[Image]], harmful: bool) -> None:
    """More than three in a second, of a tenth of luminance, in a quarter of the picture (WCAG 2.3.1)."""
    assert any(result.flash for result in measured(shown(images()))) == harmful


def test_slow_flashes_are_harmless() -> None:
    """One flash a second, as of the simulator's show, is counted and is no incident."""
    results = measured(shown([flat(200 if index % 30 < 3 else 40) for index in range(120)]))
    assert {result.flash for result in results} == {False}
    assert max(result.flash_changes for result in results) == 2


def test_a_change_of_resolution_is_told() -> None:
    """By the first picture of another size, over the reset that it causes; a reconnect alone is none."""
    processor = FrameQualityProcessor()
    seen = []
    for index, (width, reason) in enumerate([(320, None), (320, "reconnect"), (160, "resolution"), (160, None)]):
        if reason:
            processor.reset(reason)
        frame = Frame(index, index / FPS, 0.0, CLOCK, maybe_picture=as_picture(detailed(1, (width, 240))))
        seen.append(processor.process(frame).resolution_change)
    assert seen == [False, False, True, False]

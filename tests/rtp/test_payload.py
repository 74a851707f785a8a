"""What payloads say of their frames, against real encoders and against every form of their headers."""

from __future__ import annotations

import itertools

import av
import pytest
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import VpxPayloadDescriptor
from hypothesis import given
from hypothesis import strategies as st

from tests.rtp.streams import Codec, coded, payloads
from vision.rtp.payload import H264, VP8, PayloadFormat

FORMATS: dict[str, PayloadFormat] = {"H264": H264(), "VP8": VP8()}
SLICED = {"slices": "4", "aud": "1"}
OPTIONS: list[dict[str, str]] = [{}, SLICED, {"profile": "main", "bf": "2", "tune": "film"}, {"x264-params": "aud=1"}]


def _cases() -> list[tuple[Codec, dict[str, str]]]:
    return [("VP8", {}), *[("H264", options) for options in OPTIONS]]


@pytest.mark.parametrize(("codec", "options"), _cases())
def test_of_real_frames_the_first_packet_begins_them(codec: Codec, options: dict[str, str]) -> None:
    """It begins the frame; the others do not, but for units that stand before the first slice."""
    for number, frame in enumerate(coded(codec, 12, gop=5, bit_rate=4_000_000, options=options)):
        parts = payloads(codec, frame, number)
        begins = [FORMATS[codec].begins_frame(part) for part in parts]
        assert begins[0]
        headers = len(list(itertools.takewhile(bool, begins)))
        assert not any(begins[headers:])
        assert codec == "H264" or headers == 1
        assert any(FORMATS[codec].is_key_frame(part) for part in parts) == frame.key_frame


def test_slices_after_the_first_do_not_begin_a_frame() -> None:
    """Each slice has a unit of its own, and only one of them holds the first macroblock."""
    frame = coded("H264", 2, options={"x264-params": "slices=4:sliced-threads=0"})[1]
    units = list(H264Encoder._split_bitstream(frame.data))
    slices = [unit for unit in units if unit[0] & 0x1F in (1, 5)]
    assert len(slices) == 4
    assert [H264().begins_frame(unit) for unit in slices] == [True, False, False, False]


@pytest.mark.parametrize("first", [6, 9, 7, 5])
def test_an_idr_slice_behind_other_units_of_an_aggregate_is_a_key_frame(first: int) -> None:
    """STAP-A of a delimiter, SEI or parameter sets, and the IDR slice; without that slice it is none."""
    unit, idr = bytes([0x60 | first, 0x80, 1]), bytes([0x65, 0x88, 0x84])
    both = b"\x78" + b"".join(len(part).to_bytes(2) + part for part in (unit, idr))
    assert H264().is_key_frame(both)
    assert H264().begins_frame(both)
    alone = b"\x78" + len(unit).to_bytes(2) + unit
    assert H264().is_key_frame(alone) == (first == 5)


def test_a_recovery_point_is_no_key_frame() -> None:
    """With intra refresh, parameter sets are repeated before pictures that do need others."""
    frames = coded("H264", 30, gop=10, options={"intra-refresh": "1", "x264-params": "repeat-headers=1"})
    kinds = [any(H264().is_key_frame(part) for part in payloads("H264", frame)) for frame in frames]
    assert kinds == [True] + [False] * 29
    headers = [any(unit[0] & 0x1F == 7 for unit in H264Encoder._split_bitstream(frame.data)) for frame in frames]
    assert sum(headers) > 1


@given(
    start=st.booleans(),
    partition=st.integers(0, 7),
    picture_id=st.none() | st.integers(0, 0x7FFF),
    tl0picidx=st.none() | st.integers(0, 255),
    layer=st.none() | st.tuples(st.integers(0, 3), st.integers(0, 1)),
    keyidx=st.none() | st.integers(0, 31),
    non_reference=st.booleans(),
    key=st.booleans(),
)
def test_every_vp8_descriptor(
    start: bool,
    partition: int,
    picture_id: int | None,
    tl0picidx: int | None,
    layer: tuple[int, int] | None,
    keyidx: int | None,
    non_reference: bool,
    key: bool,
) -> None:
    """Whatever extensions it has, the frame's beginning and its kind are found behind them (RFC 7741, 4.2)."""
    descriptor = bytearray(bytes(VpxPayloadDescriptor(start, partition, picture_id, tl0picidx, layer, keyidx)))
    descriptor[0] |= 0x20 * non_reference
    payload = bytes(descriptor) + bytes([0x10 if key else 0x11, 2, 0, 0x9D])
    begins = start and partition == 0
    assert VP8().begins_frame(payload) == begins
    assert VP8().is_key_frame(payload) == (begins and key)


def test_a_vp8_picture_id_of_one_byte() -> None:
    """Which aiortc reads and does not write."""
    assert VP8().is_key_frame(b"\x90\x80\x05" + b"\x10\x02\x00")
    assert not VP8().is_key_frame(b"\x90\x80\x05" + b"\x11\x02\x00")


@given(st.binary(max_size=12))
def test_no_payload_breaks_them(payload: bytes) -> None:
    """What is cut short or makes no sense is an answer, not an exception."""
    for form in FORMATS.values():
        assert form.begins_frame(payload) in (True, False)
        assert form.is_key_frame(payload) in (True, False)


def test_the_encoders_are_the_real_ones() -> None:
    """x264 and libvpx are in this build of libav."""
    assert {"libx264", "libvpx"} <= av.codecs_available

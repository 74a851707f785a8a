"""What a payload says of the frame it belongs to, without decoding it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

__all__ = ["H264", "VP8", "PayloadFormat"]


class PayloadFormat(Protocol):
    """How to tell frames apart."""

    def begins_frame(self, payload: bytes) -> bool:
        """Whether a frame certainly begins with this packet; `False` where it cannot be told."""

    def begins_stream(self, payload: bytes) -> bool:
        """Whether a decoder that has seen nothing yet may begin with this packet."""

    def is_key_frame(self, payload: bytes) -> bool:
        """Whether a part of a frame begins in the packet that only frames have which need no other."""


class H264:
    """RFC 6184: NAL units alone (1-23), in aggregates (24), in fragments (28)."""

    _STAP_A, _FU_A = 24, 28
    _IDR, _SEI, _SPS, _PPS, _AUD = 5, 6, 7, 8, 9

    def begins_frame(self, payload: bytes) -> bool:
        """A parameter set, a delimiter, SEI, or the slice whose first macroblock is 0 (H.264, 7.3.3 and 7.4.1.2.3)."""
        kind, header = self._unit(payload)
        if kind in (self._SEI, self._SPS, self._PPS, self._AUD):
            return True
        # first_mb_in_slice is Exp-Golomb coded: a leading one bit is 0
        return kind in (1, self._IDR) and len(payload) > header and bool(payload[header] & 0x80)

    def begins_stream(self, payload: bytes) -> bool:
        """A sequence parameter set, or the delimiter that may stand before it."""
        return self._unit(payload)[0] in (self._SPS, self._AUD)

    def is_key_frame(self, payload: bytes) -> bool:
        """An IDR slice begins in it, behind whatever else; parameter sets come with other frames as well."""
        if len(payload) > 3 and payload[0] & 0x1F == self._STAP_A:
            return any(kind == self._IDR for kind in self._aggregated(payload))
        return self._unit(payload)[0] == self._IDR

    @staticmethod
    def _aggregated(payload: bytes) -> Iterator[int]:
        """The types of the NAL units in a STAP-A (5.7.1)."""
        at = 1
        while at + 2 < len(payload):
            yield payload[at + 2] & 0x1F
            at += 2 + int.from_bytes(payload[at : at + 2])

    def _unit(self, payload: bytes) -> tuple[int, int]:
        """The type of the first NAL unit that begins in the packet (0: none does), and where its content is."""
        if len(payload) < 2:
            return 0, 0
        kind = payload[0] & 0x1F
        if kind == self._STAP_A:
            return (payload[3] & 0x1F, 4) if len(payload) > 3 else (0, 0)
        if kind == self._FU_A:
            return (payload[1] & 0x1F, 2) if payload[1] & 0x80 else (0, 0)
        return kind, 1


class VP8:
    """RFC 7741, 4.2 and 4.3."""

    def begins_frame(self, payload: bytes) -> bool:
        """The start of partition 0."""
        return len(payload) > 0 and payload[0] & 0x17 == 0x10  # S set, PID 0; N and R may be anything

    def begins_stream(self, payload: bytes) -> bool:
        """The start of a key frame."""
        return self.is_key_frame(payload)

    def is_key_frame(self, payload: bytes) -> bool:
        """The first bit of partition 0 is the inverse of `key frame`."""
        if not self.begins_frame(payload):
            return False
        at = self._data(payload)
        return len(payload) > at and not payload[at] & 1

    @staticmethod
    def _data(payload: bytes) -> int:
        """Where the frame's own bytes are, behind the payload descriptor."""
        if not payload[0] & 0x80:
            return 1
        if len(payload) < 3:
            return len(payload)
        extension, at = payload[1], 2
        if extension & 0x80:  # PictureID, of one or two bytes
            at += 2 if payload[at] & 0x80 else 1
        at += bool(extension & 0x40)  # TL0PICIDX
        return at + bool(extension & 0x30)  # TID and KEYIDX share a byte

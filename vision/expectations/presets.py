"""Expectations that can be named: what a kind of video should be like, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vision.expectations.verdict import Level

__all__ = ["PRESETS", "PresetLine"]


@dataclass(frozen=True, slots=True)
class PresetLine:
    """One expectation of a preset, and why it is one."""

    name: str
    that: str
    why: str
    level: Level = "error"
    min_coverage: float = 0.5


_BLACK = PresetLine("no-black", "incidents(black).count == 0", "no scene with a person in it is black for 0.1 s")
_FREEZE = PresetLine(
    "no-freeze", "incidents(freeze).count == 0", "people keep still for up to 0.4 s; a picture that stands longer hangs"
)
_CLEAN = PresetLine(
    "picture-clean",
    "incidents(blur, noise, blockiness).share <= 1 %",
    "a renderer or an encoder that starves is seen in what it leaves out; a second in a hundred is forgiven",
    level="warning",
)
_DROPOUT = PresetLine(
    "no-dropout",
    "incidents(dropout, cause=rendered, cause=sender).count == 0",
    "sound that is cut out before it is sent is heard as a fault at any length; what the network lost is its own",
)
_CLIPPING = PresetLine(
    "no-clipping",
    "incidents(clipping).count == 0",
    "samples that stand at full scale are distortion, made before the encoder",
    level="warning",
)

PRESETS: Mapping[str, tuple[PresetLine, ...]] = {
    "live-avatar": (
        PresetLine(
            "pictures-come",
            "incidents(no_picture, severity=error, cause=sender, cause=network).count == 0",
            "a pause from 0.5 s on is a stall to any viewer; what this machine dropped is not the avatar's fault",
        ),
        _FREEZE,
        _BLACK,
        _CLEAN,
        _DROPOUT,
        _CLIPPING,
        PresetLine(
            "face-there",
            "face_landmarks.face_present.share >= 99 %",
            "an avatar is a face; the detector misses fewer than one picture in a hundred of one that is there",
        ),
        PresetLine("one-face", "incidents(several_faces).count == 0", "a second face is an artefact of the renderer"),
        PresetLine(
            "face-alive", "incidents(face_frozen).count == 0", "a face that stands while the rest moves has hung"
        ),
        PresetLine(
            "no-stare",
            "incidents(no_blink).count == 0",
            "people blink every 2 to 4 s, and 20 s without a blink is uncanny",
            level="warning",
        ),
        PresetLine(
            "lip-sync",
            "-45 ms <= lip_sync.offset_ms.p5 and lip_sync.offset_ms.p95 <= 125 ms",
            "ITU-R BT.1359-1: viewers detect sound that is 45 ms early, or 125 ms late",
            min_coverage=0.2,
        ),
        PresetLine(
            "lips-move",
            "incidents(voice_without_mouth).count == 0",
            "a voice from resting lips is the gravest fault that a talking head can have",
        ),
        PresetLine(
            "lips-rest",
            "incidents(mouth_without_voice).count == 0",
            "lips that move in silence look like lost sound",
            level="warning",
        ),
    ),
    "broadcast": (
        PresetLine(
            "no-gap",
            "incidents(no_picture, cause=sender, cause=network).count == 0",
            "in a programme not one picture is missing; what this machine dropped is not the programme's fault",
        ),
        _FREEZE,
        _BLACK,
        _CLEAN,
        PresetLine(
            "undamaged",
            "incidents(corruption).count == 0",
            "no picture of a programme is torn, whether it was sent so or damaged on the way",
        ),
        PresetLine(
            "no-flash",
            "incidents(flash).count == 0",
            "WCAG 2.2, ITU-R BT.1702: more than three flashes in a second are a danger to viewers with epilepsy",
        ),
        _DROPOUT,
        _CLIPPING,
        PresetLine(
            "loudness",
            "-24 LUFS <= audio_quality.loudness_integrated.last <= -22 LUFS",
            "EBU R 128: -23 LUFS, within 1 LU where the programme is live",
        ),
        PresetLine(
            "true-peak",
            "audio_quality.true_peak_dbtp.max <= -1 dBTP",
            "EBU R 128: what exceeds it distorts in converters and encoders",
        ),
        PresetLine(
            "lip-sync",
            "-40 ms <= lip_sync.offset_ms.p5 and lip_sync.offset_ms.p95 <= 60 ms",
            "EBU R37: over the whole chain sound is at most 40 ms early and 60 ms late",
            min_coverage=0.2,
        ),
        PresetLine(
            "framing",
            "face_quality.face_inside.p5 >= 0.99",
            "a head that is cut off by the edge of the picture is a fault of framing",
            level="warning",
        ),
        PresetLine(
            "sound-heard",
            "speech.level_dbfs.max >= -40 dB",
            "a programme whose loudest sound stays below -40 dBFS is muted, or routed wrongly",
        ),
    ),
}

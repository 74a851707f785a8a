"""talking_head: each measure on motion that is known, over the window and over the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from processors.face_landmarks import FaceLandmarks
from processors.face_landmarks.engine import Found
from processors.face_landmarks.measure import measure
from processors.face_landmarks.mesh import (
    INNER_LIP_LOWER,
    INNER_LIP_UPPER,
    LEFT_BROW,
    LEFT_EYE_RING,
    LIPS,
    RIGHT_BROW,
    RIGHT_EYE_RING,
)
from processors.speech import Speech
from processors.talking_head import TalkingHead, TalkingHeadProcessor
from processors.talking_head.dialogue import Dialogue, Mouth
from processors.talking_head.loudness import Loudness
from processors.talking_head.moments import Moments
from tests.processors.hearing import RATE_HZ, framed
from vision import Frame, Sound
from vision.testing import check_processor, make_frame

Vector = NDArray[np.float64]
Points = NDArray[np.float32]
FPS = 25.0
SIZE = (640, 360)


def neutral() -> Points:
    """A face, upright: eyes a fifth of the width apart, brows above them, lips below, in normalised coordinates."""
    points = np.random.default_rng(5).uniform(0.4, 0.6, (478, 3)).astype(np.float32)
    points[[33, 133, 362, 263], :2] = (0.40, 0.4), (0.46, 0.4), (0.54, 0.4), (0.60, 0.4)
    for ring, x in ((RIGHT_EYE_RING, 0.43), (LEFT_EYE_RING, 0.57)):
        others = [point for point in ring if point not in (33, 133, 362, 263)]
        points[others, :2] = x, 0.4
    for brow, x in ((RIGHT_BROW, 0.43), (LEFT_BROW, 0.57)):
        points[list(brow), :2] = x, 0.35
    columns = np.linspace(0.46, 0.54, 8)
    for rim, y in ((INNER_LIP_UPPER, 0.6), (INNER_LIP_LOWER, 0.62)):
        points[list(rim), 0], points[list(rim), 1] = columns, y
    return points


def opened(gap: float) -> Points:
    """That face with its inner lips so far apart, in parts of the height."""
    points = neutral()
    points[list(INNER_LIP_LOWER), 1] = points[list(INNER_LIP_UPPER), 1] + np.float32(gap)
    return points


def face_of(points: Points) -> FaceLandmarks:
    """What face_landmarks makes of points."""
    return measure(Found(points), *SIZE)


def speech_of(*segments: tuple[float, float]) -> Speech:
    """What speech says of segments."""
    shown = np.full((16, 2), np.nan)
    for row, segment in zip(reversed(shown), reversed(segments), strict=False):
        row[:] = segment
    return Speech(0.5, None, None, shown)


def measured(
    faces: Iterable[FaceLandmarks | None],
    frames: Iterable[Frame] | None = None,
    speech: Speech | None = None,
    processor: TalkingHeadProcessor | None = None,
) -> TalkingHead:
    """What is said in the end; without frames given, of mute ones that follow each other."""
    processor = processor or TalkingHeadProcessor()
    faces = list(faces)
    frames = (make_frame(index=index, fps=FPS) for index in range(len(faces))) if frames is None else frames
    for frame, face in zip(frames, faces, strict=True):
        result = processor.process(frame, face, speech)
    return result


def lips_scaled(scales: Iterable[float]) -> list[FaceLandmarks]:
    """A face whose lips grow and shrink about their middle."""
    faces = []
    for scale in scales:
        points = neutral()
        lips = points[list(LIPS), :2]
        points[list(LIPS), :2] = lips.mean(axis=0) + (lips - lips.mean(axis=0)) * scale
        faces.append(face_of(points))
    return faces


def distances_px() -> Vector:
    """Between the lips' points of the face, in a picture of 256 x 256."""
    lips = neutral()[list(LIPS), :2].astype(float) * 256
    return np.array([np.linalg.norm(lips[i] - lips[j]) for i in range(40) for j in range(i)])


def test_lip_dynamics_is_the_spread_of_distances() -> None:
    """Lips that grow by known factors: each distance spreads as they do."""
    scales = 1 + 0.3 * np.sin(np.arange(60) / 5)
    result = measured(lips_scaled(scales))
    assert result.run_lip_dynamics == pytest.approx(distances_px().mean() * scales.std(), rel=1e-4)
    assert result.lip_dynamics == pytest.approx(result.run_lip_dynamics, rel=1e-9)
    assert measured(lips_scaled(np.ones(60))).run_lip_dynamics == pytest.approx(0, abs=1e-3)


def test_eyebrow_dynamics_is_the_path_of_the_brows() -> None:
    """The left brow goes up and down by 0.01 of the height with every picture, over eyes that are 0.14 of the width
    apart; pictures without a face are stepped over."""
    faces: list[FaceLandmarks | None] = []
    for index in range(60):
        points = neutral()
        points[list(LEFT_BROW), 1] -= np.float32(0.01 * (index % 2))
        faces.append(face_of(points))
    step = 0.01 * SIZE[1] / (0.14 * SIZE[0]) / 2  # of both brows
    assert measured(faces).run_eyebrow_dynamics == pytest.approx(step, rel=1e-3)
    faces[20:22] = [None, FaceLandmarks(face_present=False)]
    assert measured(faces).run_eyebrow_dynamics == pytest.approx(step, rel=1e-3)


def turned(yaw: float, pitch: float, roll: float) -> Vector:
    """The pose of a head turned by these angles, degrees."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_y @ about_x
    return matrix


def heads(centre: Callable[[int], tuple[float, float]]) -> list[FaceLandmarks]:
    """Fifty heads that turn as in the check of THEval's own function, and move as told."""
    face = face_of(neutral())
    return [
        dataclasses.replace(
            face,
            pose_matrix=turned(5 * np.cos(0.2 * i), 2 * np.sin(0.3 * i), 0.1 * i),
            box_x_px=centre(i)[0] - 10,
            box_width_px=20.0,
            box_y_px=centre(i)[1] - 30,
            box_height_px=60.0,
        )
        for i in range(50)
    ]


def test_head_motion_is_thevals() -> None:
    """What THEval's own function gives for the same angles and places, and for the angles alone."""
    moving = measured(heads(lambda i: (100 + 3 * np.sin(0.1 * i), 120 + 0.05 * i)))
    assert moving.run_head_motion == pytest.approx(1.7110810306911777, rel=1e-6)
    turning = measured(heads(lambda i: (100.0, 120.0)))
    assert turning.run_head_motion == pytest.approx(0.6647162145777623, rel=1e-6)


def silent(seconds: float) -> list[Frame]:
    """Frames with silence under them."""
    return list(framed(np.zeros(round(seconds * RATE_HZ), np.float32), FPS))


def test_silent_lip_stability_is_that_of_the_silence() -> None:
    """Lips that are 0.01 of the height apart in a silence, 0.03 in every fourth picture, are mostly 0.005 from their
    mean; what they do in speech does not count, nor what they do in a pause of less than 0.3 s."""
    frames = silent(4.0)[:99]
    speech = speech_of((0.0, 1.0), (1.2, 2.0))
    faces = []
    for index in range(len(frames)):
        is_long_silence = index > 50
        faces.append(face_of(opened(0.01 + 0.02 * (index % 4 == 0) if is_long_silence else 0.05 * (index % 5))))
    result = measured(faces, frames, speech)
    assert result.run_silent_lip_stability == pytest.approx(0.005 / 0.2, rel=1e-3)
    assert result.run_lip_sync is not None
    assert measured(faces, frames, speech_of((0.0, 9.0))).run_silent_lip_stability is None


def loud(amplitudes: Vector) -> NDArray[np.float32]:
    """Sound that has each RMS for 50 ms, around every 50 ms from 0 on."""
    half = RATE_HZ // 40
    levels = np.concatenate([np.repeat(amplitudes[:1], half), np.repeat(amplitudes[1:], 2 * half)])
    return (levels * np.where(np.arange(levels.size) % 2, 1.0, -1.0)).astype(np.float32)


def test_lip_sync_is_the_distance_from_loudness() -> None:
    """A mouth that is as open as the sound is loud has 0; one that is the other way round the mean of |1 - 2v|."""
    amplitudes = 0.2 + 0.1 * np.sin(np.arange(81) / 3)
    frames = list(framed(loud(amplitudes), FPS))
    times_s = np.array([frame.time_s for frame in frames])
    loudness = np.interp(times_s, np.arange(81) * 0.05, amplitudes)
    scaled = (loudness - loudness.min()) / (loudness.max() - loudness.min())
    speech = speech_of((0.2, 3.6))  # of the first and the last block of the sound only half is there
    spoken = scaled[(times_s > 0.19) & (times_s < 3.61)]
    spoken = (spoken - spoken.min()) / (spoken.max() - spoken.min())
    follows = measured([face_of(opened(0.1 * each)) for each in scaled], frames, speech)
    assert follows.run_lip_sync == pytest.approx(0, abs=2e-3)
    assert follows.lip_sync == pytest.approx(0, abs=2e-3)
    opposes = measured([face_of(opened(0.1 - 0.1 * each)) for each in scaled], frames, speech)
    assert opposes.run_lip_sync == pytest.approx(np.abs(1 - 2 * spoken).mean(), abs=2e-3)


def test_lip_sync_needs_a_tenth_of_speech() -> None:
    """Below that there is none, as in THEval; nor without any sound."""
    frames = list(framed(loud(0.2 + 0.1 * np.sin(np.arange(81) / 3)), FPS))
    faces = [face_of(opened(0.02 * (index % 4))) for index in range(len(frames))]
    assert measured(faces, frames, speech_of((1.0, 1.2))).run_lip_sync is None
    assert measured(faces, frames, speech_of((1.0, 1.6))).run_lip_sync is not None
    assert measured(faces, None, speech_of((0.0, 4.0))).run_lip_sync is None


def test_loudness_is_librosas_however_sound_is_cut() -> None:
    """RMS of 50 ms around every 50 ms, with zeros before the first sample and behind the last, for any cut."""
    samples = np.random.default_rng(2).standard_normal(30_011).astype(np.float32)
    padded = np.pad(samples.astype(float), 400)
    centres = np.arange(0, samples.size, 800)
    expected = [np.sqrt(np.square(padded[centre : centre + 800]).mean()) for centre in centres]
    for pieces in (1, 7, 997):
        loudness, start = Loudness(), 0
        for piece in np.array_split(samples, pieces):
            loudness.add(Sound(piece, RATE_HZ, start / RATE_HZ))
            start += piece.size
        assert loudness.at(centres / RATE_HZ) == pytest.approx(np.array(expected), rel=1e-6)


def test_loudness_is_not_known_where_samples_are_missing() -> None:
    """A hole takes its own blocks and none else; beyond the sound there is nothing."""
    samples = np.ones(RATE_HZ, np.float32)
    samples[8000:8100] = 0
    loudness = Loudness()
    loudness.add(Sound(samples, RATE_HZ, 0.0, missing=((8000, 100),)))
    at = loudness.at(np.array([0.4, 0.5, 0.6, 1.5]))
    assert at[[0, 2]] == pytest.approx(1.0)
    assert np.isnan(at[[1, 3]]).all()


def test_the_window_forgets_and_the_run_does_not() -> None:
    """After ten seconds of another motion, the window has that alone; the run has both."""
    wild, calm = (1 + share * np.sin(np.arange(251) / 5) for share in (0.5, 0.05))
    scales = np.concatenate([wild, calm])
    result = measured(lips_scaled(scales))
    assert result.lip_dynamics == pytest.approx(distances_px().mean() * calm.std(), rel=1e-3)
    assert result.run_lip_dynamics == pytest.approx(distances_px().mean() * scales.std(), rel=1e-3)


def test_a_window_has_what_its_pictures_have_alone() -> None:
    """Every figure of motion is that of a processor that has seen nothing before the window."""
    random = np.random.default_rng(4)
    faces = []
    for face in heads(lambda i: (100.0 + i, 90.0)) * 8:
        points = neutral() + random.normal(0, 0.01, (478, 3)).astype(np.float32)
        faces.append(dataclasses.replace(face_of(points), pose_matrix=face.pose_matrix))
    frames = [make_frame(index=index, fps=FPS) for index in range(len(faces))]
    whole, alone = measured(faces, frames), measured(faces[-251:], frames[-251:])
    for name in ("lip_dynamics", "eyebrow_dynamics", "head_motion"):
        assert getattr(whole, name) == pytest.approx(getattr(alone, name), rel=1e-9)
        assert getattr(whole, name) != pytest.approx(getattr(whole, f"run_{name}"), rel=1e-4)


def test_damaged_pictures_are_left_out() -> None:
    """What was damaged on the way moves no lips."""
    scales = np.ones(60)
    scales[30] = 3
    faces = lips_scaled(scales)
    frames = [
        dataclasses.replace(make_frame(index=index, fps=FPS), corrupt=index == 30) for index in range(len(scales))
    ]
    assert measured(faces, frames).run_lip_dynamics == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(("reason", "goes_on"), [("reconnect", True), ("resolution", False)])
def test_a_reset_begins_the_window_anew(reason: Any, goes_on: bool) -> None:
    """The window is empty then, and the run goes on, unless pixels are not what they were."""
    processor = TalkingHeadProcessor()
    before, after = 1 + 0.3 * np.sin(np.arange(50) / 5), np.full(40, 2.0)
    measured(lips_scaled(before), processor=processor)
    processor.reset(reason)
    first = processor.process(make_frame(index=50, fps=FPS), lips_scaled(after)[0], None)
    assert first.lip_dynamics is None
    frames = [make_frame(index=51 + index, fps=FPS) for index in range(len(after))]
    result = measured(lips_scaled(after), frames, processor=processor)
    assert result.lip_dynamics == pytest.approx(0, abs=1e-3)
    scales = np.concatenate([before, [2.0], after])
    expected = distances_px().mean() * scales.std() if goes_on else 0.0
    assert result.run_lip_dynamics == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_no_step_leads_across_a_reset() -> None:
    """Brows that are elsewhere after a reconnection have not moved."""
    raised = neutral()
    raised[list(LEFT_BROW), 1] -= np.float32(0.05)
    processor = TalkingHeadProcessor()
    measured([face_of(neutral())] * 50, processor=processor)
    processor.reset("reconnect")
    frames = [make_frame(index=50 + index, fps=FPS) for index in range(50)]
    result = measured([face_of(raised)] * 50, frames, processor=processor)
    assert result.run_eyebrow_dynamics == pytest.approx(0, abs=1e-9)
    assert result.eyebrow_dynamics == pytest.approx(0, abs=1e-9)


def test_sound_that_belongs_elsewhere_is_paired_anew() -> None:
    """After a shift nothing is known of the lips against the sound; then it is measured on the new relation."""
    amplitudes = 0.2 + 0.1 * np.sin(np.arange(121) / 3)
    frames = list(framed(loud(amplitudes), FPS))
    times_s = np.array([frame.time_s for frame in frames])
    loudness = np.interp(times_s - 0.2, np.arange(121) * 0.05, amplitudes)  # it belongs 0.2 s later
    faces = [face_of(opened(0.3 * each)) for each in loudness]
    processor, speech = TalkingHeadProcessor(), speech_of((0.0, 9.0))
    wrong = measured(faces[:75], frames[:75], speech, processor)
    assert wrong.run_lip_sync is not None
    assert wrong.run_lip_sync > 0.1
    processor.shift_sound(0.2)
    moved = [dataclasses.replace(frame, sound=frame.sound.shifted(0.2)) for frame in frames]
    assert measured(faces[75:76], moved[75:76], speech, processor).run_lip_sync is None
    right = measured(faces[76:], moved[76:], speech, processor)
    assert right.run_lip_sync == pytest.approx(0, abs=0.02)


def test_ten_minutes_are_kept() -> None:
    """Of lips against the sound: what was longer ago no longer counts, and memory ends there."""
    dialogue, segments = Dialogue(10.0), np.array([[0.0, 1e6]])
    fps, switch_s, end_s = 5, 100, 705
    opening = 0.5 + 0.4 * np.sin(np.arange(end_s * fps))
    size = RATE_HZ // fps
    for index, each in enumerate(opening):
        time_s = index / fps
        follows = each if time_s > switch_s else 1 - each
        dialogue.see(time_s, Mouth(follows, follows))
        # loud around each picture by what its mouth should be
        samples = np.full(size, each, np.float32)
        dialogue.hear(Sound(samples, RATE_HZ, time_s - 0.1), segments)
        figures = dialogue.of_run(time_s)
        if time_s == switch_s:
            assert figures.lip_sync is not None
            assert figures.lip_sync > 0.4
    assert figures.lip_sync == pytest.approx(0, abs=0.01)
    assert len(dialogue._rows) <= 600 * fps + 1


@given(st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=60), st.integers(1, 3))
def test_moments_are_those_of_what_was_not_taken_out(values: list[float], left: int) -> None:
    """Mean and variance agree with numpy's after all but a few were removed again."""
    moments = Moments(2)
    vectors = np.array([values, values[::-1]]).T
    for vector in vectors:
        moments.add(vector)
    for vector in vectors[:-left]:
        moments.remove(vector)
    assert moments.count == left
    assert moments.mean == pytest.approx(vectors[-left:].mean(axis=0), abs=1e-6)
    assert moments.variance == pytest.approx(vectors[-left:].var(axis=0), abs=1e-5)


def test_nothing_is_not_measured() -> None:
    """Without a face, or for less than a second, every figure is None."""
    assert measured([None] * 60) == TalkingHead()
    assert measured(lips_scaled(np.linspace(1, 2, 20))) == TalkingHead()


def test_it_keeps_the_contract() -> None:
    """Without faces and speech, reset and shifted."""
    check_processor(TalkingHeadProcessor)

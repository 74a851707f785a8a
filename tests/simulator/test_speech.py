"""The sound: it fits the mouth, and each planted fault does to it what it says."""

import numpy as np
import pytest

from vision.simulator import Fault
from vision.simulator.effects import Sound
from vision.simulator.faults import FaultPlan
from vision.simulator.performance import Curve, Performance
from vision.simulator.soundtrack import Soundtrack
from vision.simulator.speech import Speech
from vision.simulator.turns import AudioError, Turns, decode
from vision.simulator.voice import SAMPLE_RATE_HZ

BLOCK = 960


def soundtrack(*faults: Fault, offset_ms: float = 0.0, turns: Turns | None = None, babble: bool = True) -> Soundtrack:
    """A soundtrack of seed 1."""
    speech = Speech(Performance(1), turns or Turns(), babble)
    return Soundtrack(speech.sound, FaultPlan(faults, offset_ms), seed=1)


def recorded(track: Soundtrack, start_s: float, end_s: float) -> Sound:
    """The sound between two media times, in blocks of 20 ms."""
    first, last = round(start_s * SAMPLE_RATE_HZ), round(end_s * SAMPLE_RATE_HZ)
    return np.concatenate([track.at(sample, BLOCK) for sample in range(first, last, BLOCK)])


def lag_ms(sound: Sound, reference: Sound) -> float:
    """How much later `sound` is than `reference`, by cross-correlation."""
    size = len(sound) + len(reference)
    spectrum = np.fft.rfft(sound, size) * np.conj(np.fft.rfft(reference, size))
    lag = int(np.argmax(np.fft.irfft(spectrum, size)))
    return 1000 * (lag - size if lag > size // 2 else lag) / SAMPLE_RATE_HZ


def loudness(sound: Sound) -> Curve:
    """RMS of each 20 ms."""
    return np.asarray(np.sqrt((sound.reshape(-1, BLOCK).astype(np.float64) ** 2).mean(axis=1)))


def test_the_voice_is_as_loud_as_the_mouth_is_open() -> None:
    """The envelope of the voice follows the mouth opening."""
    envelope = loudness(recorded(soundtrack(), 0, 20))
    opening = Performance(1).mouth_opening(np.arange(0.01, 20.0, 0.02))
    assert np.corrcoef(envelope, opening)[0, 1] > 0.98


def test_pauses_are_quiet_but_not_digital_silence() -> None:
    """Between phrases the room is heard, 40 dB below the voice."""
    envelope = loudness(recorded(soundtrack(), 0, 0.4))
    assert envelope.min() > 0
    assert envelope.max() < 0.001


@pytest.mark.parametrize("offset_ms", [-200.0, -45.0, 0.0, 45.0, 120.0, 300.0])
def test_the_global_offset_is_exact(offset_ms: float) -> None:
    """A positive offset makes the sound late, by as much as was asked for."""
    late, reference = (recorded(soundtrack(offset_ms=offset), 2, 7) for offset in (offset_ms, 0.0))
    assert lag_ms(late, reference) == pytest.approx(offset_ms, abs=1)


def test_an_offset_fault_lasts_as_long_as_it_says() -> None:
    """The sound is late within the fault and in time outside of it."""
    track = soundtrack(Fault(kind="offset", start_s=5, duration_s=5, offset_ms=150))
    for start_s, expected in ((0.0, 0.0), (5.0, 150.0), (10.0, 0.0)):
        reference = recorded(soundtrack(), start_s, start_s + 5)
        assert lag_ms(recorded(track, start_s, start_s + 5), reference) == pytest.approx(expected, abs=5)


def test_drift_grows_at_its_rate() -> None:
    """Thirty seconds into a drift of 60 ms a minute the sound is 30 ms late, and as late no more after it."""
    track = soundtrack(Fault(kind="drift", start_s=0, duration_s=31, ms_per_minute=60))
    for start_s, expected in ((29.6, 30.0), (31.4, 0.0)):
        reference = recorded(soundtrack(), start_s, start_s + 0.8)
        assert lag_ms(recorded(track, start_s, start_s + 0.8), reference) == pytest.approx(expected, abs=5)


def test_silence_is_digital() -> None:
    """Planted silence is zero, exactly as long as planted."""
    sound = recorded(soundtrack(Fault(kind="silence", start_s=1, duration_s=2)), 0, 4)
    zero = np.flatnonzero(sound == 0)
    assert (zero[0], zero[-1], len(zero)) == (48_000, 144_000 - 1, 96_000)


def test_clipping_hits_full_scale() -> None:
    """Much of a clipped stretch stands at full scale, and nothing of the rest."""
    sound = recorded(soundtrack(Fault(kind="clipping", start_s=1, duration_s=2)), 0, 4)
    full = abs(sound) >= 1
    assert full[48_000:144_000].mean() > 0.1
    assert not full[:48_000].any()
    assert not full[144_000:].any()


def test_mouth_moving_mutes_the_voice_but_not_the_room() -> None:
    """While only the mouth moves, the room is all that is heard."""
    sound = recorded(soundtrack(Fault(kind="mouth_moving", start_s=1, duration_s=2)), 1, 3)
    assert 0 < loudness(sound).max() < 0.001


def test_a_turn_is_heard_and_moves_the_mouth(wav: bytes) -> None:
    """Audio handed in replaces the babble, and the mouth follows its envelope."""
    turns, clip = Turns(), decode(wav)
    turns.say(clip, claimed_s=clip.duration_s)
    speech = Speech(Performance(1), turns, babble=False)
    envelope = loudness(recorded(soundtrack(turns=turns, babble=False), 0, 4))
    opening = speech.mouth_opening(np.arange(0.01, 4.0, 0.02))
    assert np.corrcoef(envelope, opening)[0, 1] > 0.97
    assert opening[:100].max() > 0.9
    assert opening[102:].max() == 0


def test_turns_queue_and_an_interrupt_ends_only_the_current_one(wav: bytes) -> None:
    """The second turn waits for the first, and moves up when that is cut."""
    turns, clip = Turns(), decode(wav)
    for _ in range(2):
        turns.say(clip, claimed_s=2.0)
    turns.during(np.array([0.0, 0.5]))
    turns.interrupt()
    spans = [(round(turn.start_s, 2), round(turn.end_s, 2)) for turn in turns.during(np.array([0.0, 4.0]))]
    assert spans == [(0.0, 0.5), (0.5, 2.5)]
    Turns().interrupt()


def test_a_wrong_duration_desyncs_the_mouth(wav: bytes) -> None:
    """The mouth goes by the length that the caller claims, as the vendor's does."""
    turns, clip = Turns(), decode(wav)
    turns.say(clip, claimed_s=4.0)
    (turn,) = turns.during(np.array([0.0, 2.0]))
    moments = np.array([0.1, 0.3])
    np.testing.assert_allclose(turn.mouth_opening(2 * moments), np.interp(moments, [0.1, 0.3], [1, 1]), atol=0.2)


def test_what_is_not_audio_is_refused() -> None:
    """A file that cannot be decoded is an error with a reason."""
    with pytest.raises(AudioError, match="decoded"):
        decode(b"not audio at all")

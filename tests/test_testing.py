"""The tools for authors of plugins find what is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests import troublesome
from vision.frame import Frame
from vision.processor import Processor, Reads
from vision.result import Result, metric
from vision.testing import MemorySink, check_processor, make_frame


@dataclass(frozen=True, slots=True)
class _Share(Result):
    value: float = metric("A share", unit="1", range=(0, 1))


class _OutOfRange(Processor[_Share]):
    """Says more than its range."""

    def process(self, frame: Frame) -> _Share | None:
        return _Share(1.5)


class _BrokenByReset(Processor[_Share]):
    """Does not survive a reset."""

    def process(self, frame: Frame) -> _Share | None:
        return _Share(self.value)

    value = 0.5

    def reset(self, reason: str) -> None:
        del type(self).value


class _BrokenByShift(_OutOfRange):
    """Listens, and cannot shift."""

    reads = Reads.SOUND

    def process(self, frame: Frame) -> _Share | None:
        return None

    def shift_sound(self, step_s: float) -> None:
        raise KeyError(step_s)


class _NeverShifts(_BrokenByShift):
    """Would have to be awaited."""

    async def shift_sound(self, step_s: float) -> None:  # type: ignore[override]
        raise KeyError(step_s)


class _Undescribed(Processor[_Share]):
    def process(self, frame: Frame) -> _Share | None:
        return None


def test_a_good_processor_passes() -> None:
    """Its results come back, one per frame, with the options given."""
    results = check_processor(troublesome.Counting, options={"at": 1})
    assert [getattr(result, "value", None) for result in results] == list(range(10))
    assert len(check_processor(troublesome.Listening)) == 11, "one that listens gets a frame without a picture too"


def test_what_is_broken_is_said() -> None:
    """Out of range, no docstring, an exception, a wrong type."""
    with pytest.raises(ValueError, match=r"value = 1.5 lies outside its range"):
        check_processor(_OutOfRange)
    with pytest.raises(AttributeError, match="value"):
        check_processor(_BrokenByReset)
    with pytest.raises(KeyError, match=r"0\.05"):
        check_processor(_BrokenByShift)
    with pytest.raises(AssertionError, match=r"shift_sound\(\) cannot be asynchronous"):
        check_processor(_NeverShifts)
    with pytest.raises(AssertionError, match=r"has no docstring"):
        check_processor(_Undescribed)
    with pytest.raises(ValueError, match="of no"):
        check_processor(troublesome.Raising)
    with pytest.raises(AssertionError, match=r"process\(\) gave int"):
        check_processor(troublesome.WrongResult)


def test_memory_sink_keeps_records() -> None:
    """Records are in the list in the order they were written."""
    from vision.record import Record

    sink = MemorySink()
    sink.open()
    for index in range(3):
        sink.write(Record(make_frame(index=index), {}))
    sink.close()
    assert [record.frame.index for record in sink.records] == [0, 1, 2]

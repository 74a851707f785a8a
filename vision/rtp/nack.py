"""Which packets to ask for again, and when (RFC 4585, 6.2.1)."""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass

__all__ = ["NackList"]

_FIRST_WAIT_S = 0.003  # a packet may overtake another by this much; what is observed makes it more, or less
_LEAST_WAIT_S, _MOST_WAIT_S = 0.003, 0.1
_FIRST_RTT_S = 0.1
_ANSWERS, _FEWEST_ANSWERS = 15, 3  # over which the median is taken
_LEAST_RETRY_S, _MOST_RETRY_S = 0.02, 0.5
_LEAST_MARGIN_S, _MARGIN = 0.01, 0.2  # timers are not more exact, and answers vary, as a share of the round trip
_MOST_TRIES = 24
_HEAVY_LOSS, _HEAVIEST_LOSS = 0.02, 0.03  # of the packets, between which it is asked ever more often
_MOST_HASTE = 3  # how often in a round trip, at most; one after the other as soon as may be
_FIRST_LOSS = _HEAVIEST_LOSS  # nothing is known of it yet, and all else waits for the first key frame
_LOSS_WINDOW, _FIRST_LOSS_WINDOW = 512, 128  # packets over which the loss is averaged: about two seconds; at first less
_FIRST_PAUSE_S, _PAUSES = 0.005, 1.5  # between the packets of a frame; and so much more means that one is missing
_MOST_ANSWERED = 256
_MOST_MISSING = 1000  # libwebrtc's limit: beyond it a key frame is cheaper than all the packets


@dataclass(slots=True)
class _Missing:
    since_s: float
    due_s: float
    tries: int = 0
    first_asked_s: float = 0.0
    came_s: float = 0.0


class NackList:
    """The missing packets of one source.

    A packet is asked for when it is later than packets of this stream have been without being lost, then again each
    time when an answer is overdue, until it is too old. That a frame lacks its end is seen before the next one begins,
    by a pause longer than there are within frames.

    Which question an answer belongs to is not known when there was more than one (Karn). Most first questions are
    answered: the round trip is therefore the median of the times from the first question to what came. A packet that
    comes after it was asked for may be the original all the same: it is for certain where this sender marks its
    repetitions (RTX), or where the same packet comes again.

    Where packets are lost, answers are as well; and senders remember few packets (aiortc 128, half a second of a
    talking head, less behind a key frame). Where much is lost, up to three requests are therefore made in a round trip,
    soon after each other: some answers too many, for others that would come too late, or never.

    :ivar loss: the share of packets that had to be asked for, lately.
    :ivar asked: sequence numbers asked for so far, repetitions included.
    :ivar rtt_s: how long an answer takes.
    :ivar wait_s: how late packets are without being lost.
    """

    def __init__(self, oldest_s: float) -> None:
        self.asked = 0
        self.rtt_s = _FIRST_RTT_S
        self._answers_s: deque[float] = deque(maxlen=_ANSWERS)
        self.loss = _FIRST_LOSS
        self._weight = 1 / _FIRST_LOSS_WINDOW  # of a packet in that
        self._marks_ends = False
        self._marks_repetitions = False
        self.wait_s = _FIRST_WAIT_S
        self._oldest_s = oldest_s
        self._highest: int | None = None
        self._open_s: float | None = None  # when the newest packet came, if it did not end its frame
        self._pause_s = _FIRST_PAUSE_S  # the longest between two packets of a frame, lately
        self._missing: dict[int, _Missing] = {}
        self._answered: dict[int, _Missing] = {}  # asked for, and come since; the newest

    def note(self, sequence: int, now_s: float, *, repaired: bool, ends_frame: bool = True) -> bool:
        """Take note of a packet that came.

        :param repaired: it is known to be a retransmission.
        :param ends_frame: no other packet of its frame is to come behind it.
        :returns: whether so many are missing before it that asking for them is given up.
        """
        highest = self._highest
        self._marks_repetitions = self._marks_repetitions or repaired
        self._weight = max(self._weight / (1 + self._weight / 2), 1 / _LOSS_WINDOW)
        self.loss *= 1 - self._weight
        self._marks_ends = self._marks_ends or ends_frame
        if highest is None or sequence > highest:
            self._note_pause(now_s, ends_frame, in_order=highest is not None and sequence == highest + 1)
        if highest is None or (sequence == highest + 1 and sequence not in self._missing):
            self._highest = sequence
            return False
        if sequence <= highest or sequence in self._missing:
            self._highest = max(sequence, highest)
            if missing := self._missing.pop(sequence, None):
                self._note_come(sequence, missing, now_s, repaired)
            elif answered := self._answered.pop(sequence, None):
                self._learn_lateness(answered.came_s - answered.since_s)
                self._learn_rtt(answered, now_s)
            return False
        self._highest = sequence
        if len(self._missing) + sequence - highest > _MOST_MISSING:
            self._missing.clear()
            return True
        for number in range(highest + 1, sequence):
            self._missing.setdefault(number, _Missing(now_s, now_s + self.wait_s))
        return False

    def reach_back(self, sequence: int, count: int, now_s: float) -> None:
        """Ask for packets before the first one that came: it is in the middle of something."""
        for number in range(sequence - count, sequence):
            self._missing[number] = _Missing(now_s, now_s + self.wait_s)

    def due(self, now_s: float) -> list[int]:
        """The packets to ask for now, in order."""
        asked: list[int] = []
        tail_s = self.tail_due_s
        if tail_s is not None and now_s >= tail_s and self._highest is not None:
            self._missing.setdefault(self._highest + 1, _Missing(now_s, now_s))
            self._open_s = None
        for sequence, missing in list(self._missing.items()):
            if now_s - missing.since_s > self._oldest_s or missing.tries >= _MOST_TRIES:
                del self._missing[sequence]
            elif now_s >= missing.due_s:
                asked.append(sequence)
                missing.tries += 1
                if missing.tries == 1:
                    missing.first_asked_s = now_s
                    self.loss += self._weight
                missing.due_s = now_s + self._retry_s(missing.tries)
        self.asked += len(asked)
        return asked

    def due_s(self) -> float | None:
        """When something is to be asked for next."""
        tail_s = self.tail_due_s
        first_s = min((missing.due_s for missing in self._missing.values()), default=tail_s)
        return first_s if tail_s is None or first_s is None else min(first_s, tail_s)

    @property
    def tail_due_s(self) -> float | None:
        """When the frame that came last is to have ended; `None` where it has."""
        return None if self._open_s is None else self._open_s + _PAUSES * self._pause_s + self.wait_s

    def forget(self, before: int) -> None:
        """Packets before this one are not waited for any more."""
        for sequence in [number for number in self._missing if number < before]:
            del self._missing[sequence]

    def _note_pause(self, now_s: float, ends_frame: bool, *, in_order: bool) -> None:
        if in_order and self._open_s is not None:
            pause_s = min(now_s - self._open_s, _MOST_WAIT_S)
            self._pause_s += (pause_s - self._pause_s) * (1.0 if pause_s > self._pause_s else 0.02)
        self._open_s = None if ends_frame or not self._marks_ends else now_s

    def _retry_s(self, tries: int) -> float:
        """How long to wait after so many requests: those of a round trip follow each other soon, then it is awaited."""
        heaviness = (self.loss - _HEAVY_LOSS) / (_HEAVIEST_LOSS - _HEAVY_LOSS)
        haste = 1 + round((_MOST_HASTE - 1) * min(max(heaviness, 0.0), 1.0))
        wait_s = self.rtt_s + max(_MARGIN * self.rtt_s, _LEAST_MARGIN_S)
        even_s = wait_s / haste
        # what comes so late may be on its way; and at first it is not known how late packets come
        steady = self.wait_s <= _LEAST_RETRY_S and len(self._answers_s) >= _FEWEST_ANSWERS
        soon_s = min(_LEAST_RETRY_S, even_s) if steady else even_s
        retry_s = soon_s if tries % haste else wait_s - (haste - 1) * soon_s
        return min(max(retry_s, _LEAST_RETRY_S), _MOST_RETRY_S)

    def _note_come(self, sequence: int, missing: _Missing, now_s: float, repaired: bool) -> None:
        """A packet came after all: how late packets may be, or how long an answer takes."""
        late = not repaired and (not missing.tries or self._marks_repetitions)
        if late:
            self._learn_lateness(now_s - missing.since_s)
            if missing.tries:
                self.loss = max(self.loss - self._weight, 0.0)
        elif missing.tries:
            self._learn_rtt(missing, now_s)
        if not repaired and missing.tries == 1:  # the answer may be still to come
            missing.came_s = now_s
            self._answered[sequence] = missing
            if len(self._answered) > _MOST_ANSWERED:
                del self._answered[next(iter(self._answered))]

    def _learn_lateness(self, late_s: float) -> None:
        late_s = min(max(1.2 * late_s + 0.002, _LEAST_WAIT_S), _MOST_WAIT_S)
        self.wait_s += (late_s - self.wait_s) * (1.0 if late_s > self.wait_s else 0.02)

    def _learn_rtt(self, missing: _Missing, now_s: float) -> None:
        self._answers_s.append(now_s - missing.first_asked_s)
        if len(self._answers_s) >= _FEWEST_ANSWERS:
            self.rtt_s = statistics.median(self._answers_s)

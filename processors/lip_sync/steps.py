"""Steps of the offset on their way: found, looked at more closely, and told together with all else of their time."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from processors.lip_sync.change import LEARNT_S, REACH_S, moment_of_change
from processors.lip_sync.course import COURSE_DELAY_S, Course
from processors.lip_sync.history import History
from processors.lip_sync.tracker import Step

__all__ = ["KEPT_S", "Steps"]

KEPT_S = COURSE_DELAY_S + LEARNT_S + REACH_S
"""How much sound and mouth a closer look may need."""

_LOOKED_AFTER_S = COURSE_DELAY_S - REACH_S  # as late as it can be, to have learnt most


class Steps:
    """Tells steps one after the other, each `COURSE_DELAY_S` after it was, or when it is known."""

    def __init__(self) -> None:
        self._found: deque[Step] = deque()
        self._placed: deque[Step] = deque()

    def add(self, step: Step | None) -> None:
        """Take a step that was found, if there is one."""
        if step is not None:
            self._found.append(step)

    def place(self, now_s: float, history: History, course: Course) -> None:
        """Look more closely at what was found long enough ago, and let the course know."""
        while self._found and (len(self._found) > 1 or now_s - self._found[0].time_s >= _LOOKED_AFTER_S):
            step = self._found.popleft()
            end_s = min(step.time_s + LEARNT_S, history.known_s)
            window = history.window(step.time_s - LEARNT_S, end_s) if end_s > step.time_s else None
            if window is not None:
                moment_s = moment_of_change(window.stretch, step.before_s, step.slope, step.after_s, step.time_s)
                step = replace(step, time_s=moment_s)
            course.change(step.time_s)
            self._placed.append(step)

    def take(self, time_s: float) -> Step | None:
        """A step that was at a time or before, and not yet told."""
        return self._placed.popleft() if self._placed and self._placed[0].time_s <= time_s else None

    def shift(self, step_s: float) -> None:
        """All sound so far belongs so much later, and was so much later than was said."""
        for steps in (self._found, self._placed):
            for _ in range(len(steps)):
                step = steps.popleft()
                moved = {name: getattr(step, name) + step_s for name in ("time_s", "before_s", "after_s")}
                steps.append(replace(step, **moved))

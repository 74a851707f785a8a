"""What is shown and heard: the two shows there are, behind one interface."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vision.simulator.effects import Sound
from vision.simulator.flash import FlashAndBeep
from vision.simulator.performance import Performance, Times
from vision.simulator.picture import Painter, Plane, drawn, likeness
from vision.simulator.portrait import Expression
from vision.simulator.settings import SimulatorSettings
from vision.simulator.speech import Speech
from vision.simulator.turns import Turns


class Show(Protocol):
    """A show as functions of media time, before faults. Times (N,) are ascending, s."""

    def face(self, time_s: float) -> Expression:
        """What is to be seen, in time with the sound."""
        ...

    def mime(self, time_s: float) -> Expression:
        """What is to be seen where the mouth moves on its own, without a sound."""
        ...

    def speaking(self, times_s: Times) -> NDArray[np.bool_]:
        """Whether there is something to be heard at the times (N,)."""
        ...

    def sound(self, times_s: Times) -> Sound:
        """What is to be heard (N,) at the times (N,)."""
        ...

    def picture(self, face: Expression, time_s: float) -> Plane:
        """The I420 picture (H * 3 / 2, W) of a face at a time; good until the next call."""
        ...


class Talk:
    """The talking head."""

    def __init__(self, settings: SimulatorSettings, turns: Turns) -> None:
        self._size = settings.size
        self._performance = Performance(settings.seed)
        self._speech = Speech(self._performance, turns, settings.babble)
        self._painter: Painter | None = None

    def face(self, time_s: float) -> Expression:
        """The mouth that belongs to what is said."""
        return self._face(float(self._speech.mouth_opening(np.array([time_s]))[0]), time_s)

    def mime(self, time_s: float) -> Expression:
        """The mouth of the babble, whatever is said."""
        return self._face(float(self._performance.mouth_opening(np.array([time_s]))[0]), time_s)

    def speaking(self, times_s: Times) -> NDArray[np.bool_]:
        """Whether something is being said."""
        return self._speech.speaking(times_s)

    def sound(self, times_s: Times) -> Sound:
        """The voice."""
        return self._speech.sound(times_s)

    def picture(self, face: Expression, time_s: float) -> Plane:
        """The portrait, where it has swayed to."""
        if self._painter is None:  # drawing the portrait takes a second: not before the first picture is asked for
            self._painter = Painter(likeness(*self._size))
        x, y = self._performance.sway(np.array([time_s]))
        return self._painter.paint(face, (float(x[0]), float(y[0])))

    def _face(self, mouth_opening: float, time_s: float) -> Expression:
        return drawn(Expression(mouth_opening, float(self._performance.blink(np.array([time_s]))[0])))


def make_show(settings: SimulatorSettings, turns: Turns) -> Show:
    """The show that the settings ask for."""
    if settings.show == "flash_and_beep":
        return FlashAndBeep(settings)
    return Talk(settings, turns)

"""What a plugin author writes: a class with `process`, its options, and what it needs."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict

from vision.frame import Frame, ResetReason
from vision.result import Result

if TYPE_CHECKING:
    from vision.models import ModelFile

__all__ = ["Options", "Placement", "Processor", "Reads", "ResetReason", "StreamInfo"]

R = TypeVar("R", bound=Result)
Placement = Literal["thread", "process"]


class Options(BaseModel):
    """Base of a plugin's options: keys that are not declared are errors; give every field a description."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Reads(enum.Flag):
    """What a processor looks at, and so which frames it is called with.

    `PICTURE`: those that have a picture. `SOUND` and `BOTH`: all of them, so that sound is heard whole; where the
    stream stalls, or has no pictures, they come without one (`frame.maybe_picture` is `None`).
    """

    PICTURE = enum.auto()
    SOUND = enum.auto()
    BOTH = PICTURE | SOUND


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What is known of the stream when processors are set up.

    :ivar live: the source cannot wait; what is not taken in time is lost.
    """

    live: bool


class Processor(Generic[R]):
    """Measures frames. Subclass it with the type of your result: `class Sharpness(Processor[SharpnessResult])`.

    `process` gets the frame and, in the order of `needs`, the results of other processors for the same frame
    (`None` where they measured nothing). It returns a result, or `None` for *not measured*. A plain `def` runs off
    the event loop; an `async def` is awaited. An instance is never entered twice at once and sees frames in order.

    :cvar Options: pydantic model of the options that YAML may give.
    :cvar needs: the result types that `process` gets as further arguments.
    :cvar reads: which frames it is called with: those with a picture (default), or all of them.
    :cvar known_models: all model files that any options may lead to, for `vision models`.
    :cvar placement: `thread`, or `process` for a process of its own, which may crash or hang without harm.
    :cvar timeout_s: how long one call may take before it counts as hung.
    """

    Options: ClassVar[type[Options]] = Options
    needs: ClassVar[tuple[type[Result], ...]] = ()
    reads: ClassVar[Reads] = Reads.PICTURE
    known_models: ClassVar[tuple[ModelFile, ...]] = ()
    placement: ClassVar[Placement] = "thread"
    timeout_s: ClassVar[float] = 5.0

    def __init__(self, options: Any = None) -> None:
        self.options: Any = self.Options() if options is None else options

    @classmethod
    def models(cls, options: Any) -> Sequence[ModelFile]:
        """The model files that this processor reads with these options; they are fetched before a run starts."""
        return ()

    def setup(self, info: StreamInfo) -> None:
        """Called once before the first frame, where `process` will run (in the worker process, if it has one)."""

    def process(self, frame: Frame, *args: Any, **kwargs: Any) -> R | Awaitable[R | None] | None:
        """Measure one frame."""
        raise NotImplementedError

    def reset(self, reason: ResetReason) -> None:
        """What came before does not continue: the source reconnected, the resolution changed, or the clock stepped."""

    def shift_sound(self, step_s: float) -> None:
        """Sound and pictures are related otherwise from now on: all sound so far belongs `step_s` later than was said.

        Called between frames, where the sender's own time becomes known, or slips. A processor that keeps a window of
        both moves what it has heard by that much. By default it begins anew: `reset("clock")`. Those that read pictures
        only are not told. A drift is not told either: each frame's `sound.start_s` has it.
        """
        self.reset("clock")

    def close(self) -> None:
        """Called once at the end, also where `setup` failed."""

    @classmethod
    def result_type(cls) -> type[Result]:
        """The `R` of `Processor[R]`.

        :raises TypeError: when the class does not say it.
        """
        for klass in cls.__mro__:
            for base in klass.__dict__.get("__orig_bases__", ()):
                origin = get_origin(base)
                if isinstance(origin, type) and issubclass(origin, Processor):
                    (argument,) = get_args(base)
                    if isinstance(argument, type) and issubclass(argument, Result):
                        return argument
        raise TypeError(f"{cls.__name__} does not say its result type; write class {cls.__name__}(Processor[...])")

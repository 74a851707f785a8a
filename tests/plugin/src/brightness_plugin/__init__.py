"""An example of a plugin: two processors, one of which needs the other."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from vision import Frame, Options, Processor, Result, metric


@dataclass(frozen=True, slots=True)
class Brightness(Result):
    """How bright a picture is."""

    mean: float = metric("Mean luma", unit="1", range=(0, 1))
    glaring: bool = metric("Brighter than the limit", unit="bool", good="false")


class BrightnessOptions(Options):
    """Options of `brightness`."""

    limit: float = Field(0.9, ge=0, le=1, description="mean luma above which a picture is glaring")


class BrightnessProcessor(Processor[Brightness]):
    """Mean luma of the picture."""

    Options = BrightnessOptions

    def process(self, frame: Frame) -> Brightness | None:
        mean = float(frame.picture.y.mean()) / 255
        return Brightness(mean=mean, glaring=mean > self.options.limit)


@dataclass(frozen=True, slots=True)
class Change(Result):
    """How much brighter a picture is than the one before."""

    step: float | None = metric("Change of mean luma to the picture before", unit="1", range=(-1, 1))


class ChangeProcessor(Processor[Change]):
    """Change of brightness from picture to picture."""

    needs = (Brightness,)

    def __init__(self, options: object = None) -> None:
        super().__init__(options)
        self._before: float | None = None

    def process(self, frame: Frame, brightness: Brightness | None) -> Change | None:
        if brightness is None:
            return None
        before, self._before = self._before, brightness.mean
        return Change(None if before is None else brightness.mean - before)

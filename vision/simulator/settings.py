"""What a user may set: the picture, the sound, and the faults to plant."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

ShowKind = Literal["talk", "flash_and_beep"]

FaultKind = Literal[
    "freeze",
    "black",
    "blur",
    "noise",
    "blockiness",
    "drop",
    "late",
    "offset",
    "drift",
    "mouth_still",
    "mouth_moving",
    "silence",
    "clipping",
    "audio_gap",
    "send_time_reports",
    "no_reports",
    "report_jump",
    "report_drift",
]
FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)

_AmountField = Literal["offset_ms", "ms_per_minute"]
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Amount:
    """The number that a kind of fault takes: the field it is given in, its range, and what it means."""

    field: _AmountField
    low: float
    high: float
    meaning: str


AMOUNTS: dict[FaultKind, Amount] = {
    "offset": Amount("offset_ms", -5000, 5000, "how late the sound is; negative: early"),
    "drift": Amount("ms_per_minute", -60_000, 60_000, "how fast the sound falls behind"),
    "send_time_reports": Amount("offset_ms", 0, 5000, "how late the pictures are sent"),
    "report_jump": Amount("offset_ms", -_DAY_MS, _DAY_MS, "how far the sender's wall clock is ahead"),
    "report_drift": Amount("ms_per_minute", -60_000, 60_000, "how fast the clock of the sound's reports runs ahead"),
}
"""What must be given with a fault of a kind; the other kinds take no amount."""


def _amount_field(name: _AmountField) -> Any:
    """The field of the amounts of this name: its range is that of all their kinds together."""
    amounts = {kind: amount for kind, amount in AMOUNTS.items() if amount.field == name}
    meanings = [f"for `{kind}`: {amount.meaning}, {amount.low}..{amount.high}" for kind, amount in amounts.items()]
    low, high = min(amount.low for amount in amounts.values()), max(amount.high for amount in amounts.values())
    return Field(None, ge=low, le=high, description="; ".join(meanings))


Width = Annotated[int, Field(ge=64, le=1920, multiple_of=2)]
Height = Annotated[int, Field(ge=64, le=1920, multiple_of=2)]


class Fault(BaseModel):
    """One planted fault: what goes wrong in the media time from `start_s` up to `start_s + duration_s`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: FaultKind = Field(description="what goes wrong")
    start_s: float = Field(ge=0, description="media time at which it starts; 0 is the first picture")
    duration_s: float = Field(gt=0, description="how long it lasts")
    offset_ms: float | None = _amount_field("offset_ms")
    ms_per_minute: float | None = _amount_field("ms_per_minute")

    @model_validator(mode="after")
    def _amount_fits_kind(self) -> Self:
        due = AMOUNTS.get(self.kind)
        for name in get_args(_AmountField):
            value = getattr(self, name)
            if due is None or due.field != name:
                if value is not None:
                    raise ValueError(f"`{name}` belongs to the kinds {_kinds_with(name)}, not to '{self.kind}'")
            elif value is None:
                raise ValueError(f"a fault of kind '{self.kind}' needs `{name}`")
            elif not due.low <= value <= due.high:
                raise ValueError(f"`{name}` of a fault of kind '{self.kind}' must be from {due.low} to {due.high}")
        return self

    @property
    def amount(self) -> float:
        """The number given with the fault, as `AMOUNTS` tells; 0 for a kind that takes none."""
        return self.offset_ms or self.ms_per_minute or 0.0

    @property
    def end_s(self) -> float:
        """Media time of the first moment after the fault, s."""
        return self.start_s + self.duration_s

    def covers(self, time_s: float) -> bool:
        """Whether the fault is active at the media time `time_s`."""
        return self.start_s <= time_s < self.end_s


def _kinds_with(name: _AmountField) -> str:
    return ", ".join(f"'{kind}'" for kind, amount in AMOUNTS.items() if amount.field == name)


class SimulatorSettings(BaseModel):
    """The simulated avatar: everything it shows and says follows from these."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    show: ShowKind = Field(
        "talk", description="a talking head, or each second a flash and a beep of 100 ms (no babble, no say-audio)"
    )
    seed: int = Field(1, ge=0, description="the same seed gives the same performance")
    size: tuple[Width, Height] = Field((1280, 720), description="width and height of the picture, px; even")
    fps: float = Field(30.0, ge=1, le=60, description="pictures a second")
    codec: Literal["h264", "vp8"] = Field("h264", description="codec of the picture")
    bitrate_bps: int = Field(2_500_000, ge=50_000, le=50_000_000, description="bit rate of the picture, bit/s")
    offset_ms: float = Field(0.0, ge=-5000, le=5000, description="how late the sound is; negative: early")
    babble: bool = Field(True, description="talk between the turns of say-audio; false: keep quiet")
    capture_time: bool = Field(
        False, description="send abs-capture-time, the true time of capture, once a second to viewers who offer it"
    )
    location: Literal["without_prefix", "with_prefix"] = Field(
        "without_prefix", description="whether the WHEP Location header carries the prefix of the posted URL"
    )
    faults: list[Fault] = Field(default=[], description="faults to plant")

    @field_validator("size", mode="before")
    @classmethod
    def _two_numbers(cls, size: object) -> object:
        if isinstance(size, list | tuple) and len(size) == 2:
            return tuple(size)
        raise ValueError("expected [width, height], such as [1280, 720]")

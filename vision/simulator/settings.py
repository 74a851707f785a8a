"""What a user may set: the picture, the sound, and the faults to plant."""

from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

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
]
FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)

_AMOUNTS: dict[str, str] = {"offset": "offset_ms", "drift": "ms_per_minute"}

Width = Annotated[int, Field(ge=64, le=1920, multiple_of=2)]
Height = Annotated[int, Field(ge=64, le=1920, multiple_of=2)]


class Fault(BaseModel):
    """One planted fault: what goes wrong in the media time from `start_s` up to `start_s + duration_s`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: FaultKind = Field(description="what goes wrong")
    start_s: float = Field(ge=0, description="media time at which it starts; 0 is the first picture")
    duration_s: float = Field(gt=0, description="how long it lasts")
    offset_ms: float | None = Field(
        None, ge=-5000, le=5000, description="for `offset`: how late the sound is; negative: early"
    )
    ms_per_minute: float | None = Field(
        None, ge=-60_000, le=60_000, description="for `drift`: how fast the sound falls behind"
    )

    @model_validator(mode="after")
    def _amount_fits_kind(self) -> Self:
        for kind, name in _AMOUNTS.items():
            given = getattr(self, name) is not None
            if self.kind == kind and not given:
                raise ValueError(f"a fault of kind '{kind}' needs `{name}`")
            if self.kind != kind and given:
                raise ValueError(f"`{name}` belongs to the kind '{kind}' only, not to '{self.kind}'")
        return self

    @property
    def end_s(self) -> float:
        """Media time of the first moment after the fault, s."""
        return self.start_s + self.duration_s

    def covers(self, time_s: float) -> bool:
        """Whether the fault is active at the media time `time_s`."""
        return self.start_s <= time_s < self.end_s


class SimulatorSettings(BaseModel):
    """The simulated avatar: everything it shows and says follows from these."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    seed: int = Field(1, ge=0, description="the same seed gives the same performance")
    size: tuple[Width, Height] = Field((1280, 720), description="width and height of the picture, px; even")
    fps: float = Field(30.0, ge=1, le=60, description="pictures a second")
    codec: Literal["h264", "vp8"] = Field("h264", description="codec of the picture")
    bitrate_bps: int = Field(2_500_000, ge=50_000, le=50_000_000, description="bit rate of the picture, bit/s")
    offset_ms: float = Field(0.0, ge=-5000, le=5000, description="how late the sound is; negative: early")
    babble: bool = Field(True, description="talk between the turns of say-audio; false: keep quiet")
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

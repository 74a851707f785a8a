"""How far sound and picture may be apart, as standards have it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["LIMITS", "LimitName", "Limits"]

LimitName = Literal["itu_detectable", "itu_acceptable", "ebu_r37", "atsc_is191"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Up to how many ms the sound may be early, and late."""

    early_ms: float
    late_ms: float

    def excess_ms(self, offset_ms: float) -> float:
        """By how much an offset exceeds them; negative: it does not.

        :param offset_ms: > 0: the sound is late.
        """
        return max(offset_ms - self.late_ms, -offset_ms - self.early_ms)


LIMITS: dict[LimitName, Limits] = {
    "itu_detectable": Limits(45, 125),  # ITU-R BT.1359-1, figure 2: thresholds of detectability
    "itu_acceptable": Limits(90, 185),  # the same, of acceptability
    "ebu_r37": Limits(40, 60),  # EBU R37-2007: the whole programme chain
    "atsc_is191": Limits(15, 45),  # ATSC IS-191: at the input of the encoder
}

"""A link between a sender and a receiver of RTP, in time that is made up: loss both ways, delay, jitter, repairs."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from vision.rtp.track import Arrived

__all__ = ["Link"]


@dataclass
class Link:
    """Carries packets down and requests up.

    :param loss: the share that is lost, each way; of repairs as well.
    :param jitter_s: packets are delayed by up to this, each by another.
    :param marked: repairs are known as such (RTX); else they come as the original did.
    :ivar lost: sequence numbers whose original was lost.
    :ivar never_came: those that no repair brought either.
    :ivar asked: how often each number was asked for.
    """

    rtt_s: float = 0.04
    loss: float = 0.0
    jitter_s: float = 0.0
    marked: bool = True
    seed: int = 0
    twice: float = 0.0
    lost: set[int] = field(default_factory=set)
    came: set[int] = field(default_factory=set)
    asked: dict[int, int] = field(default_factory=dict)

    @property
    def never_came(self) -> set[int]:
        """What was lost for good."""
        return self.lost - self.came

    def carry(
        self,
        packets: Iterable[Arrived],
        take: Callable[[Arrived], Any],
        due_s: Callable[[], float | None],
        tick: Callable[[float], Iterable[int]],
    ) -> None:
        """Send all packets at their `arrival_s`; give them, later, to `take`, and call `tick` when it is due.

        `tick` returns the numbers (16 bits) that it asks for.
        """
        random_ = random.Random(self.seed)
        sent = {packet.sequence: packet for packet in packets}
        order = itertools.count()
        events: list[tuple[float, int, Arrived]] = []
        first = next(iter(sent))
        for packet in sent.values():
            arrival_s = packet.arrival_s + self.rtt_s / 2
            if packet.sequence != first:
                arrival_s += random_.uniform(0, self.jitter_s)
                if random_.random() < self.loss:
                    self.lost.add(packet.sequence)
                    continue
            heapq.heappush(events, (arrival_s, next(order), packet._replace(arrival_s=arrival_s)))
            if random_.random() < self.twice:
                heapq.heappush(events, (arrival_s + 0.001, next(order), packet._replace(arrival_s=arrival_s + 0.001)))
        while events or due_s() is not None:
            due = due_s()
            if events and (due is None or events[0][0] < due):
                packet = heapq.heappop(events)[2]
                self.came.add(packet.sequence)
                take(packet)
                continue
            assert due is not None
            for sequence in tick(due):
                self.asked[sequence] = self.asked.get(sequence, 0) + 1
                if random_.random() < self.loss or random_.random() < self.loss:
                    continue
                arrival_s = due + self.rtt_s + random_.uniform(0, self.jitter_s)
                again = sent[sequence]._replace(arrival_s=arrival_s, repaired=self.marked)
                heapq.heappush(events, (arrival_s, next(order), again))

    def shares(self, count: int) -> dict[str, float]:
        """Requests for what was not lost, per packet; requests per lost packet; lost packets that never came."""
        needless = sum(times for sequence, times in self.asked.items() if sequence not in self.lost)
        needed = sum(times for sequence, times in self.asked.items() if sequence in self.lost)
        return {
            "needless": needless / count,
            "requests": needed / max(len(self.lost), 1),
            "unrepaired": len(self.never_came) / max(len(self.lost), 1),
        }

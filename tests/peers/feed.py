"""A source of RTP that counts what it sends: `python -m tests.peers.feed JSON`, for a mountpoint of Janus.

Pictures that carry their numbers, as H264 (constrained baseline, no B-frames) with a key frame a second, and a tone as
Opus; or flashes and beeps (`tests.marks`), which are sent at the same instants. libav's RTP muxer sends them, and is
read on the way: what comes out of it is what is counted. The stream begins at once and ends with stdin; then one line
of JSON says what was sent.
"""

from __future__ import annotations

import dataclasses
import json
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np

from tests.marks import BRIGHT, DARK, beeps, is_lit
from tests.peers.numbered import write_number
from vision.frame import Plane

RATE_HZ, BLOCK = 48_000, 960  # 20 ms, one packet
_RECEIVE_BYTES = 1 << 21
_KEY_FRAME_S = 1
_MEAN = 120  # luma
_TONE = (0.5 * np.sin(2 * np.pi * 500 * np.arange(BLOCK) / RATE_HZ)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Feed:
    """What is sent, and to which ports of 127.0.0.1; `kbps` is the rate of the video.

    :ivar marks: flashes and beeps, in place of the tone and pictures that are alike bright.
    :ivar beep_delay_s: how much later than its flash a beep is.
    """

    video_port: int
    audio_port: int
    video_payload_type: int = 101
    audio_payload_type: int = 96
    width: int = 1280
    height: int = 720
    fps: int = 30
    kbps: int = 2000
    marks: bool = False
    beep_delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent.

    :ivar pictures: how many; they are numbered from 0.
    :ivar blocks: blocks of sound, of 20 ms each.
    :ivar video_packets: RTP packets.
    :ivar audio_packets: RTP packets.
    :ivar packets_of: of how many RTP packets each picture consists, in order.
    :ivar longest_pause_s: the longest time between two pictures.
    """

    pictures: int = 0
    blocks: int = 0
    video_packets: int = 0
    audio_packets: int = 0
    packets_of: list[int] = field(default_factory=list)
    longest_pause_s: float = 0.0


class Tap:
    """A port whose packets go on to another, counted by their RTP timestamp."""

    def __init__(self, target: int) -> None:
        self._target = ("127.0.0.1", target)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.counts: Counter[int] = Counter()  # packets by RTP timestamp, in the order they came
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def _pass_on(self) -> None:
        while data := self._socket.recv(2048):
            self.counts[int.from_bytes(data[4:8])] += 1
            self._socket.sendto(data, self._target)

    def close(self) -> None:
        """Let what is under way through, and end: an empty datagram says so."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()


class Pictures:
    """A moving picture that takes some bits, with its number."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._random = np.random.default_rng(3)
        self._wall = self._blocks(feed.height, feed.width * 2, 40)

    def _blocks(self, height: int, width: int, size: int) -> Plane:
        gray = self._random.integers(40, 2 * _MEAN - 40, (height // size + 1, width // size + 1), np.uint8)
        return np.asarray(np.kron(gray, np.ones((size, size), np.uint8))[:height, :width])

    def __call__(self, number: int) -> av.VideoFrame:
        """The picture of this number."""
        feed = self._feed
        luma = np.full((feed.height * 3 // 2, feed.width), 128, np.uint8)
        shift = 4 * number % feed.width
        luma[: feed.height] = self._wall[:, shift : shift + feed.width]
        band = feed.height // 6  # new in every picture, so that the encoder has something to do
        luma[feed.height - band : feed.height] = self._blocks(band, feed.width, 12)
        if feed.marks:
            luma[: feed.height] = BRIGHT if is_lit(number / feed.fps) else luma[: feed.height] * (DARK / _MEAN)
        write_number(luma[: feed.height], number)
        frame = av.VideoFrame.from_ndarray(luma, "yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, feed.fps)
        return frame


def sound(feed: Feed, block: int) -> av.AudioFrame:
    """A block of a tone of 500 Hz, which repeats with the blocks; or of beeps."""
    wave = beeps(block * BLOCK, BLOCK, feed.beep_delay_s) if feed.marks else _TONE
    frame = av.AudioFrame.from_ndarray(wave[None], "flt", "mono")
    frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, block * BLOCK, Fraction(1, RATE_HZ)
    return frame


def send(feed: Feed, over: Callable[[], object]) -> Sent:
    """Send in real time until it is over."""
    video_tap, audio_tap = Tap(feed.video_port), Tap(feed.audio_port)
    with (
        _muxer(video_tap.port, feed.video_payload_type) as video_out,
        _muxer(audio_tap.port, feed.audio_payload_type) as audio_out,
    ):
        video, audio = _video_stream(video_out, feed), audio_out.add_stream("libopus", RATE_HZ, layout="mono")
        pictures, number, block, longest_s = Pictures(feed), 0, 0, 0.0
        begun_s = before_s = time.monotonic()
        while not over():
            due_s = begun_s + min(number / feed.fps, block * BLOCK / RATE_HZ)
            time.sleep(max(due_s - time.monotonic(), 0))
            if block * BLOCK * feed.fps <= number * RATE_HZ:
                audio_out.mux(audio.encode(sound(feed, block)))
                block += 1
            else:
                video_out.mux(video.encode(pictures(number)))
                number += 1
                now_s = time.monotonic()
                longest_s, before_s = max(longest_s, now_s - before_s), now_s
    for tap in (video_tap, audio_tap):
        tap.close()
    packets_of = list(video_tap.counts.values())
    return Sent(number, block, sum(packets_of), audio_tap.counts.total(), packets_of, longest_s)


def _muxer(port: int, payload_type: int) -> Any:
    # RTCP goes to the same port, where it is taken for RTP if it is not sent elsewhere; nobody is there to hear it
    url = f"rtp://127.0.0.1:{port}?pkt_size=1200&rtcpport={_deaf_port()}"
    return av.open(url, "w", format="rtp", options={"payload_type": str(payload_type)})


def _deaf_port() -> int:
    """A port that takes what comes and does nothing with it."""
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind(("127.0.0.1", 0))
    _deaf.append(one)
    return int(one.getsockname()[1])


_deaf: list[socket.socket] = []


def _video_stream(output: Any, feed: Feed) -> Any:
    rate = (
        f"vbv-maxrate={feed.kbps}:vbv-bufsize=400:bitrate={feed.kbps}"  # no key frame overflows Janus' receive buffer
    )
    options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "profile": "baseline",
        "x264-params": f"repeat-headers=1:annexb=1:threads=1:bframes=0:scenecut=0:{rate}",
    }
    stream = output.add_stream("libx264", rate=feed.fps, options=options)
    stream.width, stream.height, stream.pix_fmt = feed.width, feed.height, "yuv420p"
    stream.codec_context.gop_size = feed.fps * _KEY_FRAME_S
    stream.codec_context.time_base = Fraction(1, feed.fps)
    return stream


def main() -> None:
    """Send until stdin ends, then say what was sent."""
    over = threading.Event()
    threading.Thread(target=_await_the_end, args=[over], daemon=True).start()
    sent = send(Feed(**json.loads(sys.argv[1])), over.is_set)
    sys.stdout.write(json.dumps(dataclasses.asdict(sent)) + "\n")


def _await_the_end(over: threading.Event) -> None:
    sys.stdin.read()
    over.set()


if __name__ == "__main__":
    main()

"""From shots to the file: where pictures and sound go, and what size they have there."""

from __future__ import annotations

from collections.abc import Callable, Collection

from vision.frame import Picture
from vision.movie import Movie
from vision.sinks.video.backlog import Shot
from vision.sinks.video.canvas import Canvas
from vision.sinks.video.overlays import Overlays

__all__ = ["Recorder"]

_WITHOUT_PICTURES = (640, 360)
_WAIT_S = 5.0  # for a first picture, of media time; then sound goes without


class Recorder:
    """Draws and encodes, one shot after the other.

    The first picture gives the file its size; later ones of another size are fitted into it. A source of sound alone
    gets a dark picture, with what is known of the sound.

    :ivar pictures: how many the file has.
    :ivar left_out: pictures whose time was not after the one before.
    """

    def __init__(self, make: Callable[[tuple[int, int]], Movie], height: int | None, names: Collection[str] | None):
        self.pictures = self.left_out = 0
        self._make, self._height = make, height
        self._overlays = Overlays(names)
        self._movie: Movie | None = None
        self._canvas = Canvas(2, 2)
        self._pending: list[Shot] = []  # sound before the first picture
        self._seen = False  # a picture

    def add(self, shot: Shot) -> None:
        """Take a shot."""
        self._pending.append(shot)
        picture = shot.frame.maybe_picture
        if self._movie is None:
            waited_s = shot.frame.time_s - self._pending[0].frame.time_s
            if picture is None and waited_s < _WAIT_S:
                return
            self._begin(picture)
        self._write_pending()

    def close(self) -> None:
        """Finish the file."""
        if self._movie is None and any(shot.frame.sound.samples.size for shot in self._pending):
            self._begin(None)
            self._write_pending()
        if self._movie is not None:
            self._movie.close()

    def _begin(self, picture: Picture | None) -> None:
        size = _WITHOUT_PICTURES if picture is None else _even(picture.width, picture.height, self._height)
        self._movie, self._canvas = self._make(size), Canvas(*size)

    def _write_pending(self) -> None:
        assert self._movie is not None
        pending, self._pending = self._pending, []
        for shot in pending:
            sound = shot.frame.sound
            self._movie.add_sound(sound.samples, sound.rate_hz, sound.start_s)
            self._draw(self._movie, shot)

    def _draw(self, movie: Movie, shot: Shot) -> None:
        """The picture; none where the stream stalls, or it was left out before."""
        picture = shot.frame.maybe_picture
        if picture is not None:
            self._seen = True
            place = self._canvas.show(picture)
        elif self._seen or shot.frame.index is not None:
            return
        else:
            self._canvas.clear()
            place = (1.0, 0.0, 0.0)
        self._overlays.draw(self._canvas, shot, place)
        if movie.add_picture(self._canvas.i420, shot.frame.time_s):
            self.pictures += 1
        elif picture is not None:
            self.left_out += 1


def _even(width: int, height: int, wanted_height: int | None) -> tuple[int, int]:
    """The size of the file for a picture's."""
    scale = 1.0 if wanted_height is None else wanted_height / height
    return max(2, int(scale * width + 0.5) // 2 * 2), max(2, int(scale * height + 0.5) // 2 * 2)

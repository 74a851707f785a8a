"""The ground-truth log: what each sent picture shows, a line a picture."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from vision.errors import SourceError


@dataclass(frozen=True, slots=True)
class Truth:
    """What one picture shows. `mouth_opening` and `blink` are what is drawn in it, 0..1."""

    time_s: float
    """On the media clock; zero at the first picture."""
    mouth_opening: float
    blink: float
    speaking: bool
    """Whether the voice is speaking at this moment; false where a fault mutes it."""
    faults: list[str]


class TruthLog:
    """A JSON Lines file that belongs to the latest viewer; without a path nothing is written.

    :raises SourceError: when the file cannot be written to.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._owner: object = None
        self._file: IO[str] | None = None
        self._open()

    def claim(self, owner: object) -> None:
        """Starts the file afresh for a viewer; what earlier viewers write from now on is dropped."""
        self.close()
        self._owner = owner
        self._open()

    def write(self, owner: object, truth: Truth) -> None:
        """Appends a line, at once."""
        if self._file is not None and owner is self._owner:
            self._file.write(json.dumps(asdict(truth)) + "\n")

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> None:
        if self._path is None:
            return
        try:
            self._file = self._path.open("w", buffering=1, encoding="utf-8")
        except OSError as error:
            raise SourceError(f"cannot write the ground truth to {self._path}: {error.strerror}") from error

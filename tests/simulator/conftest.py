"""What several tests of the simulator share."""

import io
import wave

import numpy as np
import pytest
from aiortc.codecs import HEADER_EXTENSIONS


@pytest.fixture(autouse=True)
def _aiortc_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver of this package in the same process has aiortc agree on more; a simulator has a process of its own."""
    for kind, extensions in HEADER_EXTENSIONS.items():
        own = [extension for extension in extensions if "abs-capture-time" not in extension.uri]
        monkeypatch.setitem(HEADER_EXTENSIONS, kind, own)


@pytest.fixture
def wav() -> bytes:
    """A WAV file: two seconds of a tone that swells and fades five times a second."""
    times_s = np.arange(2 * 16_000) / 16_000
    samples = 0.5 * np.sin(2 * np.pi * 440 * times_s) * np.sin(np.pi * 5 * times_s) ** 2
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return buffer.getvalue()

"""What many tests share."""

from __future__ import annotations

import os

# before numpy is loaded: threads of its BLAS spin while they wait for each other, which doubles the CPU time
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.clips import MEDIA
from tests.real_time import RealTimeFirst, give_way, is_real_time
from vision import ModelError, models, registry

# how long an example takes says more of the machine than of the code
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

# a shell without job control has what it starts in the background ignore Ctrl-C, and so would all that the tests start
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# likewise nohup and SIGHUP; here it still does nothing, but what is caught, unlike what is ignored, is not inherited
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda number, frame: None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> RealTimeFirst | None:
    """With `--dist loadfile`."""
    return RealTimeFirst(config, log) if config.option.dist == "loadfile" else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Beside other workers, what only takes time leaves the processors to what lives in real time."""
    if "PYTEST_XDIST_WORKER" in os.environ and not is_real_time(item.nodeid):
        give_way()


@pytest.fixture(scope="session")
def media() -> Path:
    """The folder of real clips; the test is skipped where there is none."""
    if not MEDIA.is_dir():
        pytest.skip(f"no clips in {MEDIA} (VISION_TEST_MEDIA)")
    return MEDIA


@pytest.fixture(scope="session")
def attention_model() -> Path:
    """The default face model, which is fetched where it is not here; the test is skipped where it cannot be had."""
    processor = registry.processor("face_landmarks")
    (model,) = processor.models(processor.Options())
    try:
        return models.ensure(model)
    except ModelError as error:
        pytest.skip(f"the face model is not to be had: {error}")


@pytest.fixture
def no_threads_left() -> Iterator[None]:
    """The test leaves no processor thread behind."""
    yield
    workers = [thread for thread in threading.enumerate() if thread.name.startswith("processor-")]
    for thread in workers:
        thread.join(2)  # told to end, it may be on its way
    left = [thread.name for thread in workers if thread.is_alive()]
    assert not left, f"left behind: {left}"


@pytest.fixture(scope="session")
def running_commands() -> Callable[[], list[str]]:
    """The command lines of this process's living descendants, and of orphans."""

    def commands() -> list[str]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if parent in (1, os.getpid()):
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return found

    return commands

"""The page in a browser: it says nothing, asks for nothing, and its plots are there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.browser import Browser, browser
from tests.report.folders import incident, noise, write_run
from vision.report.comparison import compared
from vision.report.making import write_comparison, write_report

_READY = "document.getElementById('timeline-plot').dataset.ready === 'yes'"
_VALUES = {
    "frame_quality.sharpness": noise(80, 4, 1),
    "lip_sync.offset_ms": lambda i: -5.0 + i % 3 if i % 60 < 40 else None,
    "lip_sync.offset_error_ms": lambda i: 20.0 if i % 60 < 40 else None,
    "face_landmarks.mouth_opening": noise(0.1, 0.02, 2),
    "speech.speaking": lambda i: i % 60 < 40,
    "other.metric": noise(1, 0.1, 3),
}
_INCIDENTS = [incident("black", 1, 2), incident("no_picture", 3, 3.5, cause="network"), incident("step", 4, 4)]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for all tests; they are skipped where there is none."""
    with browser() as rig:
        yield rig


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run of 20 s."""
    folder = tmp_path_factory.mktemp("page") / "run"
    return write_report(write_run(folder, _VALUES, seconds=20, incidents=_INCIDENTS))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_error_no_request_and_plots(chromium: Browser, page: Path, width: int, dark: bool) -> None:
    """At the width of a desk and of a phone, light and dark: nothing on the console, nothing asked for, no overflow."""
    chromium.complaints.clear()
    chromium.requests.clear()
    chromium.show(page, width=width, dark=dark)
    chromium.await_that(_READY)
    assert chromium.complaints == []
    assert [address for address in chromium.requests if not address.startswith(("data:", "blob:"))] == [page.as_uri()]
    assert chromium.evaluate("document.documentElement.scrollWidth") <= width
    assert chromium.evaluate("document.querySelectorAll('#timeline-plot .scatterlayer .trace').length") >= 6
    assert chromium.evaluate("document.querySelectorAll('#timeline-plot .barlayer .point').length") == len(_INCIDENTS)
    background = chromium.evaluate("getComputedStyle(document.querySelector('#timeline-plot .bg, body')).fill")
    assert background is not None


def test_plots_follow_when_the_night_comes(chromium: Browser, page: Path) -> None:
    """The colours of the plot are those of the page, also after the scheme changes."""
    chromium.show(page)
    chromium.await_that(_READY)
    colour = "document.getElementById('timeline-plot')._fullLayout.paper_bgcolor"
    assert chromium.evaluate(colour) == "#ffffff"
    chromium.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    chromium.await_that(f"{colour} !== '#ffffff'")


def test_a_metric_can_be_added(chromium: Browser, page: Path) -> None:
    """It gets a row of its own, and is no longer offered."""
    chromium.show(page)
    chromium.await_that(_READY)
    rows = "document.querySelectorAll('#timeline-plot .scatterlayer').length"
    before = chromium.evaluate(rows)
    chromium.evaluate(
        "(() => { const more = document.getElementById('more'); more.value = 'other.metric';"
        " more.dispatchEvent(new Event('change')); })()"
    )
    chromium.await_that(f"{rows} > {before}")
    assert (
        chromium.evaluate("[...document.getElementById('more').options].some(o => o.value === 'other.metric')") is False
    )


def test_no_script_of_a_file_is_run(chromium: Browser, tmp_path: Path) -> None:
    """Even a script that were in the page is refused by its policy."""
    page = tmp_path / "page.html"
    text = write_report(write_run(tmp_path / "run", _VALUES, seconds=3), page).read_text()
    page.write_text(text.replace("</main>", "</main><script>window.evil = 1</script><img src='http://127.0.0.1:9/x'>"))
    chromium.requests.clear()
    chromium.show(page)
    chromium.await_that(_READY)
    assert chromium.evaluate("window.evil === undefined")
    assert any("Content Security Policy" in one for one in chromium.complaints)
    chromium.complaints.clear()


def test_the_comparison_says_and_asks_nothing(chromium: Browser, tmp_path: Path) -> None:
    """As the report."""
    folders = [write_run(tmp_path / name, _VALUES, seconds=20, name=name) for name in "ab"]
    write_comparison(compared(folders), tmp_path / "page.html")
    chromium.complaints.clear()
    chromium.requests.clear()
    for width in (1280, 390):
        chromium.show(tmp_path / "page.html", width=width)
        assert chromium.evaluate("document.documentElement.scrollWidth") <= width
    assert chromium.complaints == []
    assert set(chromium.requests) == {(tmp_path / "page.html").as_uri()}

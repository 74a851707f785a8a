"""The pytest plugin, as an avatar's tests use it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import av
import numpy as np
import pytest

from vision.errors import ConfigError
from vision.pytest_plugin import RunVision, assert_run
from vision.recorded import RecordedRun

ROOT = Path(__file__).parent.parent
HERE = "tests.troublesome"
COUNTED = {"source": {"use": f"{HERE}:CountSource"}, "processors": [{"use": f"{HERE}:Counting"}]}
HEAVY = {"av", "cv2", "lark", "mediapipe", "numpy", "pydantic", "rich", "yaml"}


def _example() -> str:
    """The test in docs/expectations.md."""
    text = (ROOT / "docs" / "expectations.md").read_text()
    (block,) = re.findall(r"^ {4}from vision.pytest_plugin.*\n(?:^(?: {4}.*)?\n)+", text, re.MULTILINE)
    return textwrap.dedent(block)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the example, the configuration that it names, and a clip of moving noise."""
    rng = np.random.default_rng(1)
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for _ in range(50):
            image = rng.integers(0, 255, (96, 160, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    config = "source: {use: file, path: clip.mp4}\nprocessors: [{use: frame_quality}]\n"
    (tmp_path / "avatar.yaml").write_text(config)
    (tmp_path / "test_avatar.py").write_text(_example())
    return tmp_path


def _pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", *arguments]
    environment = os.environ | {"COLUMNS": "140"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_example_is_five_lines_and_passes(project: Path) -> None:
    """As it stands in the document, with every warning an error."""
    assert len([line for line in _example().splitlines() if line]) <= 5
    done = _pytest(project)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
    assert "avatar-vision" in done.stdout


def test_the_example_fails_with_the_table(project: Path) -> None:
    """What was not met, its value and limit, and the folder to look at; no traceback of ours."""
    path = project / "test_avatar.py"
    path.write_text(path.read_text().replace("p5 >= 10", "p5 <= 10"))
    done = _pytest(project)
    assert done.returncode == 1
    assert re.search(r"FAILED +frame_quality.sharpness.p5 <= 10 +[\d.]+ +<= 10 +100.0%", done.stdout), done.stdout
    assert re.search(r"passed +incidents\(freeze\).count == 0 +0 +== 0", done.stdout)
    assert "1 met, 1 not met" in done.stdout
    assert "pytest_plugin.py" not in done.stdout


def test_starting_pytest_imports_nothing_heavy(tmp_path: Path) -> None:
    """Projects that do not look at avatars pay nothing for the plugin."""
    (tmp_path / "test_imports.py").write_text(
        f"import sys\ndef test_imports(request):\n"
        f"    assert request.config.pluginmanager.has_plugin('avatar-vision')\n"
        f"    assert not {HEAVY!r} & set(sys.modules)\n"
    )
    done = _pytest(tmp_path, "-p", "no:hypothesispytest")
    assert done.returncode == 0, done.stdout


def test_a_run_from_a_mapping(vision_run: RunVision) -> None:
    """A configuration may be written in the test; assignments and a duration change it."""
    run = vision_run(COUNTED, assignments=["processors.0.name=mine"], duration_s=0.2)
    assert run.values("mine.value") == [0, 1, 2, 3, 4, 5]
    assert run.summary["end"]["reason"] == "duration reached"
    assert [incident["kind"] for incident in run.incidents] == ["odd"] * 3
    assert run.verdicts == []
    assert_run(run, "mine.value.max == 5", "incidents(odd).count == 3")


def test_two_runs_of_one_test_are_apart(vision_run: RunVision) -> None:
    """Each has a folder of its own."""
    first, second = vision_run(COUNTED), vision_run(COUNTED)
    assert first.folder != second.folder
    assert first.values("counting.value") == second.values("counting.value")


def _failure(run: RecordedRun, *expectations: str) -> str:
    with pytest.raises(pytest.fail.Exception) as caught:
        assert_run(run, *expectations)
    return str(caught.value)


def test_expectations_of_the_configuration_are_asserted(vision_run: RunVision) -> None:
    """Those of level error; a warning fails no test."""
    expected = [{"that": "counting.value.max < 5", "level": "warning"}, {"that": "counting.value.min == 0"}]
    assert_run(vision_run(COUNTED | {"expect": expected}))
    told = _failure(vision_run(COUNTED | {"expect": [{"that": "counting.value.max < 5", "name": "small"}]}))
    assert "FAILED" in told
    assert "small: counting.value.max is 9, not < 5" in told


def test_what_was_not_measured_fails_the_test(vision_run: RunVision) -> None:
    """And says why."""
    told = _failure(vision_run(COUNTED), "counting.value.p99 < 100")
    assert "counting.value has 10 values, and p99 needs 100" in " ".join(told.split())


def test_a_run_that_was_lost_fails_the_test(vision_run: RunVision) -> None:
    """With the error of the run, whatever was expected."""
    run = vision_run(COUNTED | {"source": {"use": f"{HERE}:CountSource", "fail": "gone"}})
    assert run.exit_status == 3
    assert _failure(run, "counting.value.min == 0").startswith("the run failed (status 3): ")
    assert "RuntimeError: gone" in _failure(run)


def test_mistakes_are_errors_and_no_failures(vision_run: RunVision) -> None:
    """One line, for the configuration and for what is expected."""
    with pytest.raises(ConfigError, match=r"vision-1.yaml:\d+: sorces: unknown key 'sorces'; did you mean 'source'"):
        vision_run({**COUNTED, "sorces": {}})
    with pytest.raises(ConfigError, match=r"^'counting.valu.max < 3': column 10: counting has no metric 'valu'"):
        assert_run(vision_run(COUNTED), "counting.valu.max < 3")


def test_a_test_that_is_asynchronous_may_run_too(vision_run: RunVision) -> None:
    """The fixture waits in a thread where a loop is running already."""
    import asyncio

    async def scenario() -> RecordedRun:
        return vision_run(COUNTED)

    assert asyncio.run(scenario()).exit_status == 0

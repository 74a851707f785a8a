"""For tests of avatars with pytest: the fixture `vision_run`, and `assert_run`.

pytest imports this module whenever it starts in an environment where the package is installed; so it imports nothing
until a test asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from vision.config import RunConfig
    from vision.expectations.verdict import Verdict
    from vision.recorded import RecordedRun
    from vision.runner import Run

__all__ = ["RunVision", "assert_run", "vision_run"]

_WIDTH = 100


class RunVision(Protocol):
    """What the fixture `vision_run` is."""

    def __call__(
        self,
        config: str | Path | Mapping[str, Any],
        *,
        assignments: Sequence[str] = (),
        duration_s: float | None = None,
    ) -> RecordedRun:
        """Run a configuration to its end.

        :param config: the path of a YAML file, or what such a file holds.
        :param assignments: changes of it, as `--set` takes them: `source.path=talk.mp4`.
        :param duration_s: replaces `run.duration_s`.
        :returns: the run, in a folder of its own in `tmp_path`, whatever became of it.
        :raises ConfigError: when it cannot begin.
        """


@pytest.fixture
def vision_run(tmp_path: Path) -> RunVision:
    """Runs a configuration, and gives what was recorded."""
    taken = 0

    def run(
        config: str | Path | Mapping[str, Any], *, assignments: Sequence[str] = (), duration_s: float | None = None
    ) -> RecordedRun:
        nonlocal taken
        taken += 1
        from vision.config import load

        name = f"vision-{taken}"
        path = _written(config, tmp_path / f"{name}.yaml") if isinstance(config, Mapping) else Path(config)
        return _executed(load(path, assignments, duration_s), tmp_path / name)

    return run


def assert_run(run: RecordedRun, *expectations: str, min_coverage: float = 0.5) -> None:
    """Fail, with the table of verdicts, unless the run ended well and all is as expected.

    :param run: from `vision_run`, or `vision.recorded.RecordedRun(folder)`.
    :param expectations: beside those of its configuration: `incidents(freeze).count == 0`.
    :param min_coverage: the least share of the pictures in which what these are about must have been measured.
    :raises ConfigError: when one of them is none, or of something that the run does not measure.
    """
    __tracebackhide__ = True
    verdicts = run.verdicts + run.judge(*expectations, min_coverage=min_coverage)
    if run.exit_status not in (0, 1):
        pytest.fail(
            f"the run failed (status {run.exit_status}): {run.error or 'interrupted'}\n{run.folder}", pytrace=False
        )
    if any(verdict.level == "error" and not verdict.is_met for verdict in verdicts):
        pytest.fail(f"{_table(verdicts)}\n{run.folder}", pytrace=False)


def _written(config: Mapping[str, Any], path: Path) -> Path:
    import yaml

    path.write_text(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def _executed(config: RunConfig, folder: Path) -> RecordedRun:
    from vision import models
    from vision.plan import models_of
    from vision.recorded import RecordedRun
    from vision.runner import Run

    prepared = Run(config, folder)
    for model in models_of(prepared.steps):
        models.ensure(model)
    _finish(prepared)
    return RecordedRun(folder)


def _finish(prepared: Run) -> None:
    """Wait for a run, also where the test itself is asynchronous."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(prepared.execute())
        return
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(prepared.execute())).result()


def _table(verdicts: Sequence[Verdict]) -> str:
    import io

    from rich.console import Console

    from vision.expectations.table import in_words, verdict_view

    text = io.StringIO()
    console = Console(file=text, width=_WIDTH, color_system=None, force_terminal=False)
    console.print(verdict_view(verdicts, _WIDTH))
    return f"{in_words(verdicts)}\n{text.getvalue().rstrip()}"

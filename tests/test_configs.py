"""The configurations that come with the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision.config import load
from vision.plan import plan

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


def test_there_is_one_for_each_source() -> None:
    """demo, avatar, whep and file."""
    assert {path.stem for path in CONFIGS} >= {"demo", "avatar", "whep", "file"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_is_good_and_explains_itself(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads, it can be planned, and it has comments."""
    for name in ("AVATAR_SESSION_ID", "AVATAR_TOKEN", "CLIP"):
        monkeypatch.setenv(name, "something")
    monkeypatch.setenv("WHEP_URL", "https://example.invalid/whep")
    config = load(path)
    assert plan(config.processors)
    assert config.name == path.stem
    assert path.read_text().count("#") >= 5
    assert "something" not in str(config.as_dict().get("source", {}).get("token"))

"""Plugins: found by entry point, by module:Class, and told apart from what is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vision import registry
from vision.catalog import entries
from vision.errors import ConfigError
from vision.result import metrics_of

PLUGIN = Path(__file__).parent / "plugin"


@pytest.fixture(scope="module")
def plugin_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plugin's package and its metadata, as an installation would leave them."""
    site = tmp_path_factory.mktemp("site")
    source = PLUGIN / "src" / "brightness_plugin"
    (site / "brightness_plugin").mkdir()
    (site / "brightness_plugin" / "__init__.py").write_text((source / "__init__.py").read_text(), encoding="utf-8")
    metadata = site / "brightness_plugin-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: brightness-plugin\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(_entry_points())
    return site


def _entry_points() -> str:
    """The entry points of the plugin's pyproject.toml, as an installer writes them."""
    import tomllib

    groups = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]["entry-points"]
    sections = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for group, points in groups.items()]
    return "\n".join(sections)


def _vision(site: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(site), "COLUMNS": "200"}
    command = [sys.executable, "-m", "vision", *arguments]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_plugin_of_its_own_package_runs_from_yaml(plugin_site: Path, tmp_path: Path) -> None:
    """It is listed, its options are taken and checked, another processor needs it, and its figures are recorded."""
    listed = _vision(plugin_site, "list", folder=tmp_path)
    assert "brightness" in listed.stdout
    assert "Mean luma of the picture." in listed.stdout
    assert "mean luma above which a picture is glaring" in listed.stdout
    _clip(tmp_path / "clip.mp4")
    config = tmp_path / "run.yaml"
    config.write_text(
        "source: {use: file, path: clip.mp4}\n"
        "processors:\n"
        "  - {use: 'brightness_plugin:ChangeProcessor', name: change}\n"
        "  - {use: brightness, limit: 0.3, placement: process}\n"
    )
    done = _vision(plugin_site, "run", "run.yaml", "--out", "out", folder=tmp_path)
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    records = [json.loads(line) for line in (tmp_path / "out" / "frames.jsonl").read_text().splitlines()]
    assert [record["brightness"]["glaring"] for record in records] == [False] * 5 + [True] * 5
    assert records[0]["change"] == {"step": None}
    assert records[5]["change"]["step"] == pytest.approx(100 * 219 / 255 / 255, abs=0.03)
    config.write_text(config.read_text().replace("limit: 0.3", "limit: 3"))
    wrong = _vision(plugin_site, "check", "run.yaml", folder=tmp_path)
    assert wrong.returncode == 2
    assert wrong.stderr == ("vision: run.yaml:4: processors[1].limit: input should be less than or equal to 1, got 3\n")


def _clip(path: Path) -> None:
    """Ten pictures, five dark and five bright."""
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(10):
            image = np.full((48, 64, 3), 50 if i < 5 else 150, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def test_built_ins_are_found_like_any_plugin() -> None:
    """Connectors, processors and sinks of the project come through the same entry points."""
    assert set(registry.installed("connectors")) >= {"avatar", "file", "simulator", "whep"}
    assert set(registry.installed("processors")) >= {"face_landmarks", "frame_quality"}
    assert "jsonl" in registry.installed("sinks")
    assert registry.processor("frame_quality").__module__.split(".")[0] == "processors"


def test_what_is_no_plugin_is_refused() -> None:
    """A name that is not installed, a module that fails, a class of another kind: one line each."""
    for use, message in [
        ("face_landmark", "did you mean 'face_landmarks'?"),
        ("tests.no_such:Thing", "cannot be imported (ModuleNotFoundError"),
        ("tests.troublesome:NoSuch", "cannot be imported (AttributeError"),
        ("tests.troublesome:FullSink", "is no processor"),
    ]:
        with pytest.raises(ConfigError) as caught:
            registry.processor(use)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["connectors", "processors", "sinks"])
def test_every_plugin_and_every_option_is_described(kind: registry.Kind) -> None:
    """`vision list` has a purpose for each plugin, and a meaning for each option."""
    for entry in entries(kind):
        assert entry.error is None
        assert entry.purpose, entry.name
        assert entry.options is not None
        for name, field in entry.options.model_fields.items():
            assert field.description, f"{entry.name}.{name}"


def test_every_metric_has_unit_range_and_good_end() -> None:
    """All results of all built-in processors say what their fields are."""
    seen = 0
    for name in registry.installed("processors"):
        for info in metrics_of(registry.processor(name).result_type()):
            seen += 1
            assert info.description, f"{name}.{info.name}"
            assert info.unit in {
                "1",
                "px",
                "s",
                "ms",
                "ms/min",
                "deg",
                "bool",
                "bit",
                "dB",
                "dBFS",
                "Hz",
                "1/min",
                "LUFS",
                "LU",
                "dBTP",
                "bit/s",
                "ppm",
            }, f"{name}.{info.name}"
            assert info.kind == "boolean" or info.good in {"high", "low", "zero", "neither"}
            assert info.kind == "number" or (info.unit == "bool" and info.good in {"true", "false", "neither"})
            assert info.name.endswith(f"_{info.unit}") == (info.unit in {"px", "s", "ms", "deg", "ppm"}), (
                f"{name}.{info.name}"
            )
    assert seen > 10

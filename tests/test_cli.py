"""The command line, as a shell sees it: what is printed where, and the exit status."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
import yaml

import vision

ROOT = Path(__file__).parent.parent
ENDLESS = "source: {use: 'tests.troublesome:EndlessSource'}\nprocessors: [{use: 'tests.troublesome:Counting'}]\n"
COUNTED = "source: {use: 'tests.troublesome:CountSource'}\nprocessors: [{use: 'tests.troublesome:Counting'}]\n"


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "vision", *arguments]


def _environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "120"} | more


def _vision(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(*arguments),
        cwd=folder,
        env=_environment(**environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _one_error_line(done: subprocess.CompletedProcess[str]) -> str:
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("vision: ")]
    assert "Traceback" not in done.stderr
    return line


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two configurations."""
    (tmp_path / "endless.yaml").write_text(ENDLESS)
    (tmp_path / "counted.yaml").write_text(COUNTED)
    return tmp_path


def test_run_prints_the_table_and_makes_a_folder(folder: Path) -> None:
    """Status 0; the tables on standard output; the folder is runs/<name>/<UTC time>."""
    done = _vision("run", "counted.yaml", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "counted: 10 pictures" in done.stdout
    assert re.search(r"value\s+100\.0%\s+4\.5", done.stdout)
    assert "ended: all sent" in done.stdout
    (made,) = (folder / "runs" / "counted").iterdir()
    assert re.fullmatch(r"\d{8}T\d{6}Z", made.name)
    assert {path.name for path in made.iterdir()} == {"run.json", "frames.jsonl", "incidents.jsonl", "summary.json"}


def test_options_of_run(folder: Path) -> None:
    """--out, --duration and --set are taken."""
    arguments = ["--out", "here", "--duration", "0.1", "--set", "name=other", "--set", "processors.0.name=mine"]
    done = _vision("run", "counted.yaml", *arguments, folder=folder)
    assert done.returncode == 0, done.stderr
    run = json.loads((folder / "here" / "run.json").read_text())
    assert (run["name"], run["config"]["run"]["duration_s"]) == ("other", 0.1)
    assert len((folder / "here" / "frames.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "absent.yaml"], "vision: absent.yaml: cannot be read: No such file or directory"),
        (["run"], "vision: Missing argument 'CONFIG'"),
        (["rnu", "counted.yaml"], "vision: No such command 'rnu'"),
        (["run", "counted.yaml", "--duration", "soon"], "vision: Invalid value for '--duration'"),
        (
            ["run", "counted.yaml", "--duration", "-1"],
            "vision: --duration -1: run.duration_s: input should be greater than 0, got -1",
        ),
        (["run", "counted.yaml", "--set", "x"], "vision: --set x: not of the form key.path=value"),
        (["run", "counted.yaml", "--out", "counted.yaml"], "vision: counted.yaml: cannot be written: File exists"),
        (["run", "counted.yaml", "--out", "/proc/here"], "vision: /proc/here: cannot be written: "),
        (["models", "fetch", "nothing"], "vision: no model named 'nothing'; known: face_landmarks/attention"),
        (["models", "import", "face_landmarks/official", "counted.yaml"], "vision: face_landmarks/official"),
        (["simulate", "counted.yaml"], "vision: counted.yaml:1: source: must be the simulator's"),
        (["simulate", "absent.yaml"], "vision: absent.yaml: cannot be read"),
        (["simulate", "--host", ""], "vision: --host: must name an address"),
        (["run", "counted.yaml", "--duration", "inf"], "vision: --duration inf: run.duration_s: input should be a fin"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_line_is_one_line_and_status_2(folder: Path, arguments: list[str], message: str) -> None:
    """What is wrong, on standard error, without a traceback."""
    done = _vision(*arguments, folder=folder)
    assert done.returncode == 2
    assert _one_error_line(done).startswith(message)


def test_a_lost_source_is_status_3(folder: Path) -> None:
    """The run's summary is printed all the same."""
    done = _vision("run", "counted.yaml", "--set", "source.fail=gone", folder=folder)
    assert done.returncode == 3
    assert _one_error_line(done).endswith("failed: RuntimeError: gone")
    assert "10 pictures" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_writes_the_summary(folder: Path, number: signal.Signals) -> None:
    """Status 130, and what was measured is on disk and printed."""
    running = subprocess.Popen(
        _command("run", "endless.yaml", "--out", "out"),
        cwd=folder,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    frames, deadline = folder / "out" / "frames.jsonl", time.monotonic() + 30
    while not (frames.exists() and frames.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(running.pid, number)  # as a terminal does: to all of the group
    out, err = running.communicate(timeout=30)
    assert running.returncode == 130, err
    assert "Traceback" not in err
    assert "ended: interrupted" in out
    assert json.loads((folder / "out" / "summary.json").read_text())["end"]["reason"] == "interrupted"


def test_ctrl_c_before_the_run_begins(folder: Path) -> None:
    """At any moment of the start, too: no traceback, status 130 (before that, it is for the interpreter to answer)."""
    program = "from vision.entry import main; print('begun', flush=True); main()"
    for delay_s in (0.2, 0.6, 1.0):
        running = subprocess.Popen(
            [sys.executable, "-c", program, "run", "endless.yaml", "--out", f"out{delay_s}"],
            cwd=folder,
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert running.stdout is not None
        assert running.stdout.readline() == "begun\n"
        time.sleep(delay_s)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=30)
        assert running.returncode == 130, err
        assert "Traceback" not in err


def test_the_second_ctrl_c_does_not_wait(folder: Path) -> None:
    """Also where a plugin keeps the event loop from turning, so that the first is not even noticed."""
    (folder / "blocked.yaml").write_text("source: {use: 'tests.unsound:Blocking'}\n")
    running = subprocess.Popen(
        _command("run", "blocked.yaml", "--out", "out"),
        cwd=folder,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while not (folder / "out" / "frames.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.5)
    for _ in range(2):
        running.send_signal(signal.SIGINT)
        time.sleep(0.3)
    _, err = running.communicate(timeout=5)
    assert running.returncode == 130, err
    assert err.endswith("vision: interrupted\n")
    assert "Traceback" not in err


def test_nothing_at_all_prints_the_help(folder: Path) -> None:
    """And no error line below it."""
    done = _vision(folder=folder)
    assert "Usage: vision" in done.stdout + done.stderr
    assert "vision: " not in done.stderr


def test_debug_adds_the_traceback(folder: Path) -> None:
    """The line and the status are the same as without, and no traceback shows what was configured."""
    secret = "--set", "source.token=[Sw0rdfish]", "--set", "source.use=whep", "--set", "source.url=http://h/"
    done = _vision("--debug", "check", "counted.yaml", *secret, folder=folder)
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("vision: --set source")
    assert "Sw0rdfish" not in done.stderr


def test_brackets_are_no_markup(folder: Path) -> None:
    """Paths and messages from outside are shown as they are."""
    done = _vision("run", "counted.yaml", "--set", "source.fail='[/red] [b]'", "--out", "o[/x]", folder=folder)
    assert done.returncode == 3
    assert _one_error_line(done).endswith("failed: RuntimeError: [/red] [b]")
    assert "written: o[/x]" in done.stdout


@pytest.mark.parametrize(
    ("redirection", "status"),
    [("| head -c1", 0), (">/dev/full", 0), (">&-", 0), ("2>/dev/full", 0), ("2>&-", 0), (">&- 2>&-", 0)],
)
def test_streams_that_take_nothing(folder: Path, redirection: str, status: int) -> None:
    """The run is on disk, and that is what its status is about."""
    command = f"set -o pipefail; {' '.join(_command('run', 'counted.yaml', '--out', 'out'))} {redirection}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert len((folder / "out" / "frames.jsonl").read_text().splitlines()) == 10


def test_output_that_cannot_be_written(folder: Path) -> None:
    """Where the output is all there is to a command, a full disk is its failure."""
    command = f"{' '.join(_command('list'))} >/dev/full"
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "vision: standard output: cannot be written: No space left on device\n"


def test_plugins_of_the_current_folder(folder: Path) -> None:
    """`package.module:Class` is looked for there too, by the installed command as well, but behind all else."""
    (folder / "mine.py").write_text("from tests.troublesome import Counting as Own\n")
    (folder / "json.py").write_text("raise RuntimeError('not the library')\n")
    main = "from vision.entry import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", main, "check", "counted.yaml", "--set", "processors.0.use=mine:Own"],
        cwd=folder,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "own (mine:Own)" in done.stdout


def test_a_run_without_pictures_prints_no_tables(folder: Path) -> None:
    """There is nothing to put into them; how it ended is said."""
    done = _vision("run", "counted.yaml", "--set", "source.pictures=0", folder=folder)
    assert done.stdout.startswith("incidents: none")
    assert "ended: all sent" in done.stdout


@pytest.mark.parametrize("columns", ["40", "60", "80", "200"])
def test_no_number_is_cut(folder: Path, columns: str) -> None:
    """A narrow terminal gets fewer columns, not shorter numbers; a flag says of what it is the share."""
    done = _vision("run", "counted.yaml", folder=folder, COLUMNS=columns)
    assert "…" not in done.stdout
    assert re.search(r"value\s+100\.0%\s+4\.5", done.stdout)
    assert "50.0% yes" in done.stdout
    assert ("p95" in done.stdout) == (int(columns) >= 72)
    assert ("max" in done.stdout) == (int(columns) >= 100)


def test_a_processor_that_measured_nothing_is_trouble(folder: Path) -> None:
    """It is not left to the reader to notice a zero."""
    done = _vision("run", "counted.yaml", "--set", "source.use=tests.troublesome:SoundSource", folder=folder)
    assert "measured nothing" in done.stdout
    assert "measured nothing" not in _vision("run", "counted.yaml", "--out", "out", folder=folder).stdout


def test_no_terminal_codes_in_pipes(folder: Path) -> None:
    """What is not a terminal gets plain text."""
    done = _vision("run", "counted.yaml", folder=folder)
    assert "\x1b" not in done.stdout + done.stderr


def test_check_prints_the_plan_and_opens_nothing(folder: Path) -> None:
    """The order, what is needed, and the queue; the source is not touched and no folder is made."""
    done = _vision("check", "counted.yaml", "--set", "source.fail=x", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "counting" in done.stdout
    assert "queue of 64, every" in done.stdout
    assert not (folder / "runs").exists()


def test_version_and_help(folder: Path) -> None:
    """--version is the package's; help names all commands."""
    assert _vision("--version", folder=folder).stdout.strip() == f"avatar-vision {vision.__version__}"
    shown = _vision("--help", folder=folder).stdout
    for command in ("run", "check", "list", "schema", "models", "simulate"):
        assert command in shown


def test_schema_accepts_what_the_reader_accepts(folder: Path) -> None:
    """The configurations of the repository are valid by it, and mistakes are not."""
    schema = json.loads(_vision("schema", folder=folder).stdout)
    validator = jsonschema.Draft202012Validator(schema)
    for path in sorted((ROOT / "configs").glob("*.yaml")):
        validator.validate(yaml.safe_load(path.read_text()))
    for wrong in ({}, {"source": {"use": "nothing"}}, {"source": {"use": "file", "path": "x", "speed": 1}}):
        assert not validator.is_valid(wrong)
    assert validator.is_valid({"source": {"use": "my.module:Source", "anything": 1}})


def test_models_lists_without_a_network(folder: Path) -> None:
    """Where each model comes from and whether it is here."""
    done = _vision("models", folder=folder, VISION_CACHE=str(folder / "cache"))
    assert done.returncode == 0
    assert "face_landmarks/attention" in done.stdout
    assert "face_landmarks/official" in done.stdout
    assert "no" in done.stdout

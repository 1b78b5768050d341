"""Weight files: from a disk or a server, never unchecked."""

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from errors import UserError
from training.config import WeightFile
from training.recipes import stage1_laptop64
from training.settings import override
from training.stages.weight_files import fetch, sha256_of

CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A web server with one file, and an empty cache."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "vgg.pth").write_bytes(CONTENT)
    monkeypatch.setenv("VQI2I_CACHE", str(tmp_path / "cache"))
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "www"))
    ) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()


def test_a_fetched_file_is_checked_and_kept(server: str, tmp_path: Path) -> None:
    file = WeightFile(source=f"{server}/vgg.pth", sha256=SHA256)
    assert fetch(file).read_bytes() == CONTENT
    (tmp_path / "www" / "vgg.pth").unlink()
    assert fetch(file).read_bytes() == CONTENT  # from the cache
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [SHA256]


def test_another_content_is_refused_and_not_kept(server: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"has the sha256 {SHA256}, not 0000"):
        fetch(WeightFile(source=f"{server}/vgg.pth", sha256="0" * 64))
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_server_that_does_not_answer_is_named(server: str) -> None:
    with pytest.raises(ValueError, match=r"absent.pth cannot be fetched .*404"):
        fetch(WeightFile(source=f"{server}/absent.pth", sha256=SHA256))


def test_a_local_file_is_used_where_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "vgg.pth"
    with pytest.raises(UserError, match="there is no weight file"):
        fetch(WeightFile(source=str(path)))
    path.write_bytes(CONTENT)
    assert (
        fetch(WeightFile(source=str(path)))
        == fetch(WeightFile(source=str(path), sha256=SHA256))
        == path
    )
    assert sha256_of(WeightFile(source=str(path))) == SHA256
    with pytest.raises(ValueError, match="another file or damaged"):
        fetch(WeightFile(source=str(path), sha256="1" * 64))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["perceptual.kind=lpips"], "needs perceptual.vgg.source and perceptual.heads.source"),
        (["perceptual.vgg.source=vgg.pth"], "do nothing with perceptual.kind=multiscale"),
        (["perceptual.vgg.source=https://example.org/vgg.pth"], "needs its sha256"),
        (["perceptual.vgg.sha256=abc"], "perceptual.vgg.sha256"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        override(stage1_laptop64(("a", "b")), settings)

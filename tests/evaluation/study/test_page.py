"""The page of a study: all pictures are in it, and nothing that tells whose they are."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imaging
from errors import UserError
from evaluation.study.answers import FILE, AnswerLog
from evaluation.study.page import break_up, build
from evaluation.study.trials import Study, read_study
from tests.evaluation.study.conftest import METHODS, answer, looked_into

Built = tuple[Path, Study]


def data(page: str, name: str) -> Any:
    (found,) = re.findall(rf'<script type="application/json" id="{name}">(.*?)</script>', page)
    return json.loads(found)


def test_the_page_shows_the_pictures_of_the_trials(built: Built, pictures: Path) -> None:
    folder, study = built
    page = (folder / "page.html").read_text()
    shown, uris = data(page, "study"), data(page, "pictures")
    assert shown["identity"] == study.identity
    assert study.size == 20  # the shortest side of any picture
    for trial, seen in zip(study.trials, shown["trials"], strict=True):
        assert seen["question"] == trial.question
        for alternative, number in ((trial.left, seen["left"]), (trial.right, seen["right"])):
            pixels = imaging.decode(base64.b64decode(uris[number].partition(",")[2]))
            whole = imaging.fit(imaging.read(Path(alternative.file)), 20)
            wanted = break_up(whole) if alternative.method == "broken" else whole
            assert np.array_equal(pixels, wanted)
        assert seen["source"] == (trial.source and trial.source.picture)


def test_the_page_does_not_tell_whose_a_picture_is(built: Built, pictures: Path) -> None:
    page = (built[0] / "page.html").read_text()
    text = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]*", "", page)
    for secret in (*METHODS, "broken", "check", str(pictures), "0_winter", ".png", "seed"):
        assert secret not in text
    headers = {base64.b64decode(uri.partition(",")[2])[:33] for uri in data(page, "pictures")}
    assert len(headers) == 1  # one format, one size


def test_the_page_needs_nothing_else(built: Built) -> None:
    page = (built[0] / "page.html").read_text()
    assert not re.search(r"https?://|@import|<link|src=", page)


def test_a_domain_is_shown_as_it_is_written(pictures: Path, tmp_path: Path) -> None:
    build(looked_into(pictures), tmp_path, to='</script><b>"van Gogh"', trials=6, checks=0)
    page = (tmp_path / "page.html").read_text()
    assert "<b>" not in page.partition('id="questions"')[2].partition("</script>")[0]
    questions = dict(data(page, "questions"))
    assert (
        questions["realism"] == 'Which one looks more like a real </script><b>"van Gogh" picture?'
    )


def test_a_broken_picture_is_far_from_the_real_one() -> None:
    rng = np.random.default_rng(0)
    for size in (16, 17, 64, 100):
        smooth = imaging.fit(rng.integers(0, 256, (4, 4, 3), np.uint8), size)
        noisy = rng.integers(0, 256, (size, size, 3), np.uint8)
        for pixels in (smooth, noisy):
            broken = break_up(pixels)
            assert broken.shape == pixels.shape
            assert np.abs(broken.astype(float) - pixels).mean() > 20
        assert np.diff(break_up(noisy).astype(float), axis=0).std() < 30  # detail is gone: was 104


def test_the_same_command_gives_the_same_bytes(
    built: Built, pictures: Path, tmp_path: Path
) -> None:
    for seed in (1, 0):  # a study that nobody has answered is replaced
        build(looked_into(pictures), tmp_path, to="winter", trials=12, checks=2, seed=seed)
    for name in ("page.html", "trials.json"):
        assert (tmp_path / name).read_bytes() == (built[0] / name).read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"page.html", "trials.json"}


def test_a_page_without_its_key_is_no_study(
    study: Built, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(Path, "write_text", full)
        with pytest.raises(OSError, match="No space"):
            build(looked_into(pictures), study[0], to="winter", trials=6, seed=3)
    with pytest.raises(UserError, match="holds no study"):
        read_study(study[0])


def test_a_study_with_answers_is_not_replaced(study: Built, pictures: Path) -> None:
    folder, trials = study
    with AnswerLog(folder, trials) as log:
        log.add(answer(trials, 1, 0))
    before = (folder / FILE).read_bytes()
    with pytest.raises(UserError, match="holds answers to a study: build another one in another"):
        build(looked_into(pictures), folder, to="winter", trials=6, seed=3)
    assert read_study(folder) == trials
    assert (folder / FILE).read_bytes() == before


def test_a_picture_that_cannot_be_read_is_named(pictures: Path, tmp_path: Path) -> None:
    folders = looked_into(pictures)
    (tmp_path / "damaged.png").write_bytes(b"no picture")
    damaged = folders._replace(real=[tmp_path / "damaged.png"])
    for size in (None, 32):
        with pytest.raises(imaging.ImageError, match=r"damaged.png: the file is not an image"):
            build(damaged, tmp_path / "study", to="winter", size=size)
    assert not (tmp_path / "study").exists()

"""Weights out of installed wheels: read as data, only if they are the ones that are asked for."""

import hashlib
import io
from pathlib import Path

import pytest
import torch

from evaluation.networks.weights import MissingWeightsError, WeightFile, read_weights


class Code:
    """What must not be made while weights are read."""


def wheel(folder: Path, content: object) -> WeightFile:
    """Install a wheel that fails when its code is imported."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    package, info = folder / "pretend_model", folder / "pretend_model-0.1.0.dist-info"
    for made in (package, info):
        made.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "net.pth").write_bytes(buffer.getvalue())
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pretend-model\nVersion: 0.1.0\n")
    sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
    return WeightFile("Pretend", "pretend-model", "pretend_model/net.pth", sha256)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_tensors_are_read_without_the_code_of_the_wheel(site: Path):
    file = wheel(site, {"a": torch.arange(3.0)})
    assert torch.equal(read_weights(file)["a"], torch.arange(3.0))


def test_without_the_extra_one_sentence_says_what_to_install():
    file = WeightFile("Pretend", "no-such-wheel", "no/such.pth", "0" * 64)
    with pytest.raises(MissingWeightsError) as trouble:
        read_weights(file)
    assert str(trouble.value) == (
        "Pretend needs the weights in the package no-such-wheel, which is not installed: "
        "pip install 'vqi2i[metrics]'"
    )


def test_a_wheel_without_the_file_is_as_if_it_were_missing(site: Path):
    file = wheel(site, {})
    with pytest.raises(MissingWeightsError, match="not installed"):
        read_weights(file._replace(path="pretend_model/other.pth"))


def test_other_content_is_refused(site: Path):
    file = wheel(site, {})
    with pytest.raises(MissingWeightsError, match=r"net\.pth of the installed pretend-model"):
        read_weights(file._replace(sha256="0" * 64))


def test_objects_are_never_made(site: Path):
    file = wheel(site, {"a": Code()})
    with pytest.raises(Exception, match="Weights only load failed"):
        read_weights(file)

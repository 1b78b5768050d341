"""Networks of others: only those that are asked for, shown what they want, answering as they
should.
"""

import hashlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from errors import UserError
from evaluation.networks.plug_in import PlugIn, PlugInSpec, load_plug_in, parse_plug_in


class Means(nn.Module):
    """The mean of each channel: (n, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)) * self.scale


def saved(network: nn.Module, kind: str) -> bytes:
    example, stream = torch.zeros(2, 3, 8, 8), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        if kind == "TorchScript":
            torch.jit.save(torch.jit.trace(network, example), stream)
        else:
            any_number = {0: torch.export.Dim("n")}
            program = torch.export.export(network, (example,), dynamic_shapes=(any_number,))
            torch.export.save(program, stream)
    return stream.getvalue()


@pytest.fixture
def kept(tmp_path: Path) -> Callable[[bytes], PlugInSpec]:
    def keep(data: bytes) -> PlugInSpec:
        path = tmp_path / "means.pt"
        path.write_bytes(data)
        return PlugInSpec(source=str(path), sha256=hashlib.sha256(data).hexdigest())

    return keep


def images(n: int = 40, side: int = 8) -> Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("kind", ["TorchScript", "torch.export"])
def test_a_file_gives_the_features_of_its_network(kept: Callable, kind: str):
    spec = kept(saved(Means(), kind))
    plug_in = load_plug_in(spec)
    assert (plug_in.name, plug_in.sha256) == ("means", spec.sha256)
    features = plug_in.features(images())
    torch.testing.assert_close(features, images().mean((2, 3)))
    assert not features.requires_grad


def test_other_bytes_than_those_of_the_sha256_are_never_loaded(kept: Callable):
    spec = kept(saved(Means(), "TorchScript"))
    with pytest.raises(UserError, match=f"has the sha256 {spec.sha256}, not {'0' * 64}: it is"):
        load_plug_in(spec.model_copy(update={"sha256": "0" * 64}))
    with pytest.raises(UserError, match=f"is not pinned: add sha256={spec.sha256} if"):
        load_plug_in(spec.model_copy(update={"sha256": ""}))


def test_a_file_that_holds_no_network_is_told_in_a_sentence(kept: Callable):
    for data in (b"", b"no network", saved(Means(), "TorchScript")[:300]):
        with pytest.raises(UserError, match=r"means\.pt is no file of TorchScript or torch\.expo"):
            load_plug_in(kept(data))


def test_weights_alone_are_no_network(kept: Callable):
    stream = io.BytesIO()
    torch.save(Means().state_dict(), stream)
    with pytest.raises(UserError, match="no file of TorchScript"):
        load_plug_in(kept(stream.getvalue()))


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"none\.pt does not exist"):
        load_plug_in(PlugInSpec(source=str(tmp_path / "none.pt"), sha256="0" * 64))


def test_a_function_is_imported_only_if_its_file_is_the_one_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(tmp_path)
    code = "def means(images):\n    return images.mean((2, 3))\n"
    for name, text in (("pretend_means", code), ("pretend_trap", "raise RuntimeError\n")):
        (tmp_path / f"{name}.py").write_text(text)
    sha256 = hashlib.sha256(code.encode()).hexdigest()
    spec = PlugInSpec(source="pretend_means:means", sha256=sha256)
    torch.testing.assert_close(load_plug_in(spec).features(images()), images().mean((2, 3)))
    assert load_plug_in(spec).name == "means"
    with pytest.raises(UserError, match="it is another one"):
        load_plug_in(PlugInSpec(source="pretend_trap:means", sha256=sha256))
    with pytest.raises(UserError, match=r"pretend_means\.py has no function 'mean'"):
        load_plug_in(spec.model_copy(update={"source": "pretend_means:mean"}))
    with pytest.raises(UserError, match="neither a file nor a module that can be imported"):
        load_plug_in(spec.model_copy(update={"source": "no_such_package.net:means"}))


@pytest.mark.parametrize(
    ("pixels", "black", "white"),
    [
        ("-1..1", -1, 1),
        ("0..1", 0, 1),
        ("0..255", 0, 255),
        ("imagenet", -0.485 / 0.229, (1 - 0.485) / 0.229),
        ("clip", -0.48145466 / 0.26862954, (1 - 0.48145466) / 0.26862954),
    ],
)
def test_a_network_sees_images_of_its_size_and_scale(pixels, black: float, white: float):
    seen: list[Tensor] = []

    def network(images: Tensor) -> Tensor:
        seen.append(images)
        return images.flatten(1)[:, :1]

    both = torch.stack([torch.full((3, 10, 7), level) for level in (-1.0, 1.0)])
    found = PlugIn(PlugInSpec(source="a:b", size=5, pixels=pixels), network).features(both)
    assert seen[0].shape == (2, 3, 5, 5)
    torch.testing.assert_close(found[:, 0], torch.tensor([black, white], dtype=torch.float))
    PlugIn(PlugInSpec(source="a:b", pixels=pixels), network).features(both)
    assert seen[1].shape == both.shape


def test_what_a_network_should_not_answer_is_told_in_a_sentence():
    def told(network: Callable[[Tensor], object]) -> str:
        with pytest.raises(UserError) as trouble:
            PlugIn(PlugInSpec(source="nets/own.pt"), network).features(images(2))
        return str(trouble.value)

    def fails(images: Tensor) -> Tensor:
        raise RuntimeError("size mismatch\nat line 3")

    assert told(lambda x: x[..., :1, :1]).startswith(
        "the plug-in own gives (2, 3, 1, 1) for 2 images, not (2, d) numbers"
    )
    assert "gives (1, 3) for 2 images" in told(lambda x: x.mean((2, 3))[:1])
    assert "gives dict for 2 images" in told(lambda x: {})
    assert "not finite: check the pixels=" in told(lambda x: x.mean((2, 3)) / 0)
    assert "fails on images (2, 3, 8, 8) (size mismatch): give the size=" in told(fails)


def test_an_option_of_the_command_line_is_read_part_by_part():
    sha256 = "ab" * 32
    text = f"nets/inception.pt,sha256={sha256},size=299,pixels=0..1,name=Inception"
    assert parse_plug_in(text) == PlugInSpec(
        source="nets/inception.pt", sha256=sha256, size=299, pixels="0..1", name="Inception"
    )
    assert parse_plug_in(text).title == "Inception"
    for wrong, sentence in (
        ("net.pt,299", "'299' of the plug-in net.pt is no setting: write FILE,sha256="),
        ("net.pt,sice=299", "the plug-in net.pt: sice: Extra inputs"),
        ("net.pt,sha256=12", "the plug-in net.pt: sha256: String should match"),
        ("net.pt,pixels=0..2", "the plug-in net.pt: pixels: Input should be '-1..1'"),
    ):
        with pytest.raises(UserError) as trouble:
            parse_plug_in(wrong)
        assert str(trouble.value).startswith(sentence)

"""What a GPU would refuse, without one (see `tests.pretend_gpu`): applications give there what they
give here.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.conftest import untrained, untrained_masked
from tests.pretend_gpu import GPU, PretendGPU, device_of
from vqi2i import Sampling, Translator
from vqi2i.editing.chain import read_chain
from vqi2i.networks.batching import CallLimits

PHOTOGRAPHS = torch.rand(2, 3, 18, 25, generator=torch.Generator().manual_seed(0)) * 2 - 1
FEW = Sampling(steps=3)
MASK = torch.ones(18, 25, dtype=torch.bool)
MASK[8:14, 12:20] = False
SIDES = {"left": 5, "right": 14, "top": 3, "bottom": 4}
CHAIN = read_chain(
    {
        "from": "summer",
        "steps": [
            {"extend": {"right": 9}},
            {"complete": {"keep": "left"}},
            {"paste": {"feather": 2}},
        ],
    }
)

Application = Callable[[Translator], Tensor]
APPLICATIONS: dict[str, Application] = {
    "translate": lambda model: model.translate(
        PHOTOGRAPHS, source="summer", target="winter", seed=3
    ),
    "in an example's style": lambda model: model.translate(
        PHOTOGRAPHS,
        source="summer",
        target="winter",
        style=model.encode(PHOTOGRAPHS[:1], "winter").style,
    ),
    "generate": lambda model: model.generate(
        2, domain="winter", height=36, width=44, seed=3, sampling=FEW
    ),
    "extend": lambda model: model.extend(
        PHOTOGRAPHS, domain="summer", seed=3, sampling=FEW, feather=2, **SIDES
    ),
    "complete": lambda model: model.complete(
        PHOTOGRAPHS, mask=MASK, domain="summer", sampling=FEW, feather=0
    ),
    "transition": lambda model: model.transition(
        PHOTOGRAPHS,
        domain="summer",
        styles=model.sample_styles("winter", 3),
        target="winter",
        direction="radial",
    ),
    "compose": lambda model: model.compose(PHOTOGRAPHS, CHAIN, seed=3),
}


@pytest.fixture(params=["causal", "masked"])
def bundle(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    model = untrained() if request.param == "causal" else untrained_masked(local=True)
    model.save(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.mark.parametrize("name", APPLICATIONS)
def test_an_application_makes_the_same_picture(name: str, bundle: Path, gpu: PretendGPU) -> None:
    here, there = Translator.load(bundle), Translator.load(bundle, "cuda")
    assert there.device == GPU
    made = APPLICATIONS[name](there)
    assert device_of(made) == GPU
    assert_close(made.cpu(), APPLICATIONS[name](here), atol=1e-4, rtol=0)


def test_a_fast_prior_makes_the_same_picture(bundle: Path, gpu: PretendGPU) -> None:
    here, there = Translator.load(bundle), Translator.load(bundle, "cuda")
    fast = Sampling(steps=3, precision="bf16", guidance=1.0, order="confidence", top_k=5)
    made = [
        model.generate(2, domain="summer", width=44, sampling=fast).cpu() for model in (there, here)
    ]
    assert_close(*made, atol=1e-4, rtol=0)


def test_a_canvas_in_tiles_is_the_same_picture(bundle: Path, gpu: PretendGPU) -> None:
    limits = CallLimits(tile_pixels=1024)
    here, there = Translator.load(bundle, limits=limits), Translator.load(bundle, "cuda", limits)
    large = torch.rand(1, 3, 96, 128) * 2 - 1
    made = [
        model.translate(large, source="summer", target="winter", seed=1).cpu()
        for model in (there, here)
    ]
    assert_close(*made, atol=1e-4, rtol=0)


def test_a_model_on_the_gpu_is_written_as_one_on_the_host(
    bundle: Path, gpu: PretendGPU, tmp_path: Path
) -> None:
    Translator.load(bundle, "cuda").save(tmp_path / "again")
    for file in bundle.glob("*.safetensors"):
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_styles_are_fitted_and_sampled_there(gpu: PretendGPU, tmp_path: Path) -> None:
    untrained().save(tmp_path / "bundle")
    here, there = (Translator.load(tmp_path / "bundle", device) for device in ("cpu", "cuda"))
    for model in (here, there):
        model.fit_styles(dict.fromkeys(model.domains, PHOTOGRAPHS))
        assert len(model.style_prior.styles("winter")) == 2
    drawn = there.sample_styles("winter", 3, seed=1)
    assert device_of(drawn) == GPU
    assert_close(drawn.cpu(), here.sample_styles("winter", 3, seed=1), atol=1e-4, rtol=0)


def test_tensors_of_two_devices_are_refused(gpu: PretendGPU) -> None:
    there = torch.ones(3, device="cuda")
    assert torch.equal((there + torch.tensor(1.0)).cpu(), torch.full((3,), 2.0))
    with pytest.raises(RuntimeError, match="two devices"):
        _ = there + torch.ones(3)
    with pytest.raises(TypeError, match="NumPy"):
        there.numpy()
    with pytest.raises(RuntimeError, match="generator"):
        torch.rand(3, generator=torch.Generator(), device="cuda")

"""Every variant of the method is an option that trains: the same step, a falling loss, a gradient
for every weight.
"""

import re
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import jaxtyping
import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

import imaging
from pipelines.images_to_shards import build_shards
from tests.training.conftest import QUANTIZERS
from training.distributed.worker import LocalWorker
from training.job import Job, make_job
from training.recipes import STAGE1
from training.settings import override
from training.stages.build import make_stage
from training.stages.stage1 import Stage1
from vqi2i import Translator

STEPS = {"paper256": 200, "reference256": 150, "vq": 150}  # others learn in 100
TINY = (
    "crop=16",
    "precision=float32",
    "batch_size=2",
    "accumulate=1",
    "network.resolution=16",
    "network.patch=2",
    "network.base_channels=8",
    "network.channel_multipliers=[1,2]",
    "network.num_res_blocks=1",
    "network.z_channels=8",
    "network.embed_dim=8",
    "network.codebook_size=16",
    "network.style_channels=4",
    "network.num_style_blocks=1",
    "network.attention_resolutions=[]",
    "discriminator.base_channels=4",
    "discriminator.num_layers=2",
    "optim.learning_rate=2e-3",
    "discriminator_optim.learning_rate=2e-3",
    "game.discriminator_from=0",
    "game.generator_from=0",
    "codebook.start_at=0",
    "schedule.images=100000",
    "schedule.warmup_images=0",
)
LARGER = ("crop=32", "network.resolution=32")
# In flat areas the sign of a difference between neighbours, and so these terms' gradient, is
# rounding noise.
SMOOTH = ("weights.total_variation=0", "perceptual.kind=none", "weights.perceptual=0")
VARIANTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "laptop64": ("laptop64", ()),
    "paper256": (
        "paper256",
        (*LARGER, "optim.learning_rate=5e-4", "discriminator_optim.learning_rate=5e-4"),
    ),
    "reference256": ("reference256", ()),
    "plus256": ("plus256", ()),
    "uni": ("laptop64", ("network.style_dim=0", "weights.style=0")),
    "patch_nce": (
        "laptop64",
        ("weights.patch_nce=0.5", "weights.style=0.1", "weights.content=0.5"),
    ),
    "non_saturating_r1": ("laptop64", ("game.loss=non_saturating", "game.r1=1", "game.r1_every=4")),
    "augmented": ("laptop64", ('game.augment=["color","translation","cutout"]',)),
    "per_domain": ("laptop64", ("network.decoder=per_domain", "discriminator.trunk=per_domain")),
    "accumulated": ("laptop64", ("accumulate=2",)),
    "recomputed": ("laptop64", ("recompute=true",)),
    "bf16": ("laptop64", (*LARGER, "precision=bf16")),
    # `laptop64` has `ema_restart`.
    **{kind: ("laptop64", set_) for kind, set_ in QUANTIZERS.items() if kind != "ema_restart"},
}


def stage_of(job: Job, worker: LocalWorker) -> Stage1:
    stage = make_stage(job, worker)
    assert isinstance(stage, Stage1)
    return stage


def objective(stage: Stage1, metrics: dict[str, float]) -> float:
    """The weighted terms that nothing works against: neither adversaries nor codes that chase their
    content.
    """
    weights = stage.config.weights.model_dump(
        exclude={"adversarial", "adversarial_reconstruction", "codebook", "commitment"}
    )
    # others are not computed
    return sum(weight * metrics[name] for name, weight in weights.items() if weight)


def learn(stage: Stage1, steps: int = 100) -> list[float]:
    batches = islice(stage.batches(0), steps)
    return [
        objective(stage, {k: float(v) for k, v in stage.train_step(batch).items()})
        for batch in batches
    ]


def idle(stage: Stage1, steps: int = 10) -> set[str]:
    """Weights without a gradient in all of some further steps: at the end of a game one step may
    have none.

    Biases of hinge heads are left out: while nothing is beyond its margin, both sides pull at them
    equally hard.
    """
    networks = (stage.generators.network, stage.discriminator)
    silent = {name for network in networks for name, _ in network.named_parameters()}
    for batch in islice(stage.batches(stage.position), steps):
        stage.train_step(batch)
        silent -= {
            n
            for network in networks
            for n, p in network.named_parameters()
            if p.grad is not None and p.grad.any()
        }
    return {name for name in silent if not re.fullmatch(r"heads\.\w+\.bias", name)}


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_learns(variant: str, shards: Path, worker: LocalWorker, tmp_path: Path) -> None:
    recipe, settings = VARIANTS[variant]
    stage = stage_of(
        make_job("stage1", data=shards, model=None, recipe=recipe, settings=[*TINY, *settings]),
        worker,
    )
    losses = learn(stage, STEPS.get(variant, 100))
    assert np.mean(losses[-20:]) < 0.8 * np.mean(losses[:20])
    assert idle(stage) == set()
    stage.export(tmp_path / "bundle")
    translator = Translator.load(tmp_path / "bundle")
    assert translator.network == stage.config.network
    image = stage.feed.held_out()["summer"][:1]
    assert (
        translator.translate(image, source="summer", target="winter", seed=0).shape == image.shape
    )


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of a label map and a photo of it: the label's classes in colours of their own, with
    shading.
    """
    root = tmp_path_factory.mktemp("pairs")
    palette = np.array([[0, 0, 255], [255, 80, 0], [0, 200, 80]], np.uint8)
    painted = np.array([[90, 160, 220], [120, 110, 100], [40, 90, 50]], np.uint8)
    for number in range(40):
        classes = np.random.default_rng(number).integers(0, 3, (4, 4))
        for domain, colours in (("label", palette), ("photo", painted)):
            image = cv2.resize(colours[classes], (32, 32), interpolation=cv2.INTER_NEAREST)
            imaging.write(root / domain / f"{number:02d}.png", image)
    folders = {domain: root / domain for domain in ("label", "photo")}
    build_shards(folders, out=root / "shards", size=32, paired=True, labels=["label"])
    return root / "shards"


@pytest.mark.slow
def test_paired_images_teach_the_translation_itself(labelled: Path, worker: LocalWorker) -> None:
    settings = (
        *LARGER,
        "pairing=paired",
        "weights.cross_pixel=3",
        "weights.style=0.5",
        "weights.content=0.5",
        "game.translated=0.8",
    )
    job = make_job(
        "stage1", data=labelled, model=None, recipe="laptop64", settings=[*TINY, *settings]
    )
    stage = stage_of(job, worker)
    losses = learn(stage, 200)
    assert np.mean(losses[-20:]) < 0.6 * np.mean(losses[:20])
    batch = next(stage.batches(0))
    assert float(stage.train_step(batch)["cross_pixel"]) < 0.25


@pytest.mark.slow
def test_three_domains_learn_end_to_end(shards: Path, worker: LocalWorker, tmp_path: Path) -> None:
    reader_root = tmp_path / "images"
    for number, tint in enumerate(((255, 120, 60), (60, 255, 120), (90, 90, 255))):
        for index in range(12):
            coarse = np.random.default_rng(100 * number + index).integers(0, 256, (4, 4, 1))
            image = (coarse * np.array(tint) / 255).astype(np.uint8)
            imaging.write(reader_root / "abc"[number] / f"{index}.png", cv2.resize(image, (32, 32)))
    build_shards({d: reader_root / d for d in "abc"}, out=tmp_path / "shards", size=32)
    stage = stage_of(
        make_job(
            "stage1", data=tmp_path / "shards", model=None, recipe="laptop64", settings=[*TINY]
        ),
        worker,
    )
    losses = learn(stage, 100)
    assert np.mean(losses[-20:]) < 0.8 * np.mean(losses[:20])
    translator = stage.translator()
    images = stage.feed.held_out()
    for source in "abc":
        for target in "abc":
            shown = translator.translate(images[source][:1], source=source, target=target, seed=1)
            assert shown.shape == (1, 3, 16, 16)


@pytest.mark.parametrize("size", [1, 3, 4])
def test_parts_of_a_batch_add_up_to_the_whole(size: int, shards: Path, worker: LocalWorker) -> None:
    """Accumulated gradients and figures are those of one pass, augmentation and penalty
    included.
    """
    settings = (
        *TINY,
        f"batch_size={size}",
        'game.augment=["translation"]',
        "game.r1=1",
        "game.r1_every=1",
        *SMOOTH,
    )
    whole, *divided = (
        stage_of(
            make_job(
                "stage1",
                data=shards,
                model=None,
                recipe="laptop64",
                settings=[*settings, f"accumulate={n}"],
            ),
            worker,
        )
        for n in (1, 2, 3, 4)
    )
    near = 5e-3 if size == 3 else 1e-3  # thirds are rounded; wrong weights are a quarter off
    batch = next(whole.batches(0))
    wanted = whole.train_step(batch)
    for stage in divided:
        figures = stage.train_step(batch)
        assert {name: float(value) for name, value in figures.items()} == pytest.approx(
            {name: float(value) for name, value in wanted.items()}, rel=1e-3, abs=1e-5
        )
        for player in ("generators", "discriminators"):
            networks = (getattr(each, player).network for each in (whole, stage))
            for one, other in zip(*(network.parameters() for network in networks), strict=True):
                assert (one.grad - other.grad).norm() <= near * one.grad.norm() + 1e-5


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("network.quantizer=vq", "quantizer vq learns by weights.codebook alone"),
        ("weights.codebook=1", "weights.codebook does nothing without a learned codebook"),
        ("weights.cross_pixel=1", "weights.cross_pixel does nothing without pairing=paired"),
        ("network.style_dim=0", "weights.style does nothing without network.style_dim above 0"),
        ("network.fsq_levels=[4]", "quantizer=fsq and fsq_levels go together"),
        ('game.augment=["cutout","cutout"]', "game.augment names a kind twice"),
    ],
)
def test_options_that_would_do_nothing_are_refused(setting: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        override(STAGE1["laptop64"](("summer", "winter")), [setting])


@pytest.mark.parametrize("recipe", STAGE1)
def test_white_images_stay_finite(recipe: str, shards: Path, worker: LocalWorker) -> None:
    stage = stage_of(
        make_job("stage1", data=shards, model=None, recipe=recipe, settings=TINY), worker
    )
    batch = next(stage.batches(0))
    for _ in range(3):
        metrics = stage.train_step(batch * 0 + 1)
    assert all(np.isfinite(float(value)) for value in metrics.values())


@pytest.mark.slow
@pytest.mark.filterwarnings(  # its tracer looks at gradients and makes an instance of what has none
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning",
    "ignore:.*autograd.function.Function.*should not be instantiated:DeprecationWarning",
)
def test_a_compiled_step_is_the_same_step(
    shards: Path, worker: LocalWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced whole by the real compiler front end; its code generator would take a minute."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    # it cannot trace the checks of shapes
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    plain, compiled = (
        stage_of(
            make_job(
                "stage1",
                data=shards,
                model=None,
                recipe="laptop64",
                settings=[*TINY, f"compile={flag}"],
            ),
            worker,
        )
        for flag in ("false", "true")
    )
    batch = next(plain.batches(0))
    counters.clear()
    first, second = plain.train_step(batch), compiled.train_step(batch)
    assert (counters["stats"]["unique_graphs"], counters["graph_break"]) == (1, {})
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-4, rtol=1e-4)

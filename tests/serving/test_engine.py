"""Batches share model calls, but nobody can tell from the pixels."""

from pathlib import Path

import numpy as np
import pytest
import torch

import imaging
from serving.engine import ComposeJob, Engine, Failure, TranslateJob
from vqi2i import Translator
from vqi2i.editing.chain import Chain, read_chain


def picture(seed: int, height: int = 24, width: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def translator(tiny_bundle: Path) -> Translator:
    return Translator.load(tiny_bundle)


@pytest.fixture(scope="module")
def engine(translator: Translator) -> Engine:
    return Engine(translator)


def to_winter(seed: int, **options) -> TranslateJob:
    return TranslateJob(
        image=options.pop("image", picture(seed)),
        source="summer",
        target="winter",
        seed=seed,
        **options,
    )


def same(left, right) -> bool:
    return len(left) == len(right) and all(
        np.array_equal(a, b) for a, b in zip(left, right, strict=True)
    )


def test_translations_do_not_depend_on_what_shares_the_batch(engine):
    jobs = [
        to_winter(1),
        to_winter(2, samples=3),
        TranslateJob(image=picture(3), source="winter", target="summer", seed=3),
        to_winter(4, image=picture(4, 50, 70)),
        to_winter(5, style=picture(9, 40, 20)),
        *(to_winter(seed) for seed in range(6, 11)),
    ]
    together = engine.translate(jobs)
    alone = [engine.translate([job])[0] for job in jobs]
    assert all(same(a, b) for a, b in zip(together, alone, strict=True))
    assert same(engine.translate(jobs[::-1])[::-1][0], together[0])


def chain(*steps: object, source: str | None = "summer") -> Chain:
    return read_chain({"from": source, "steps": list(steps)})


def test_chains_do_not_depend_on_what_shares_the_batch(engine):
    wider = chain({"extend": {"right": 16}}, {"paste": {"feather": 2}})
    around = chain(
        {"extend": {"left": 8, "top": 3}}, {"translate": {"to": "winter", "style": "snow"}}
    )
    jobs = [
        *(ComposeJob(image=picture(s), chain=wider, seed=s) for s in range(6)),
        *(
            ComposeJob(
                image=picture(7), chain=around, pictures={"snow": picture(s, 40, 20)}, seed=7
            )
            for s in (1, 2)
        ),
        ComposeJob(chain=chain({"generate": {"domain": "winter"}}, source=None), count=3, seed=5),
    ]
    together = engine.compose(jobs)
    assert all(same(a, engine.compose([job])[0]) for a, job in zip(together, jobs, strict=True))
    assert together[0][0].shape == (24, 32 + 16, 3)
    assert together[6][0].shape == (3 + 24, 8 + 32, 3)
    assert not np.array_equal(together[6][0], together[7][0])
    assert [made.shape for made in together[8]] == [(32, 32, 3)] * 3


def test_a_chain_that_does_not_fit_does_not_stop_the_others(engine):
    good = ComposeJob(image=picture(1), chain=chain({"extend": {"right": 4}}), seed=1)
    bad = ComposeJob(image=picture(1), chain=chain({"translate": {"to": "autumn"}}))
    stranger = ComposeJob(image=picture(1), chain=chain({"extend": {"right": 4}}, source="autumn"))
    made, failed, refused = engine.compose([good, bad, stranger])
    assert same(made, engine.compose([good])[0])
    assert failed == Failure(
        "step 1 (translate): unknown domain 'autumn': this model knows summer, winter"
    )
    assert isinstance(refused, Failure)


def test_samples_are_the_styles_of_consecutive_seeds(engine):
    several = engine.translate([to_winter(5, samples=3)])[0]
    single = [engine.translate([to_winter(5 + k, image=picture(5))])[0][0] for k in range(3)]
    assert same(several, single)
    assert not np.array_equal(several[0], several[1])


def test_an_exemplar_gives_its_style(engine, translator):
    exemplar = picture(9, 40, 20)
    style = translator.encode(imaging.to_tensor([exemplar]), "winter").style
    direct = translator.translate(
        imaging.to_tensor([picture(1)]), source="summer", target="winter", style=style
    )
    made = engine.translate([to_winter(1, style=exemplar)])[0][0]
    assert np.abs(made.astype(int) - imaging.to_pixels(direct)[0].astype(int)).max() <= 1
    assert not np.array_equal(
        made, engine.translate([to_winter(1, style=picture(10, 40, 20))])[0][0]
    )


def test_jobs_of_one_kind_share_model_calls(translator, monkeypatch):
    sizes = []
    translate = translator.translate

    def counted(images, **options):
        sizes.append(len(images))
        return translate(images, **options)

    monkeypatch.setattr(translator, "translate", counted)
    others = [to_winter(seed, image=picture(seed, 40, 32)) for seed in range(2)]
    Engine(translator).translate([*(to_winter(seed) for seed in range(6)), *others])
    assert sizes == [6, 2]


def test_a_job_that_cannot_be_done_does_not_stop_the_others(engine):
    wrong = TranslateJob(image=picture(0), source="summer", target="autumn")
    greedy = to_winter(3, style=picture(9), samples=2)
    first, second, third = engine.translate([wrong, to_winter(1), greedy])
    assert first == Failure("unknown domain 'autumn': this model knows summer, winter")
    assert same(second, engine.translate([to_winter(1)])[0])
    assert isinstance(third, Failure)
    assert "style" in third.reason


def test_a_failing_model_call_is_an_internal_failure_of_its_own_jobs(
    translator, monkeypatch, caplog
):
    translate = translator.translate

    def exhausted(images: torch.Tensor, **options):
        if images.shape[2] > 40:
            raise RuntimeError("out of memory")
        return translate(images, **options)

    monkeypatch.setattr(translator, "translate", exhausted)
    large, small = Engine(translator).translate(
        [to_winter(0, image=picture(0, 48, 48)), to_winter(1)]
    )
    assert isinstance(large, Failure)
    assert large.internal
    assert large.reason == "the model failed (RuntimeError), a fault of ours: its log says why"
    assert len(small) == 1
    (told,) = caplog.records
    assert told.message == "a model call failed"
    assert told.exc_info is not None
    assert str(told.exc_info[1]) == "out of memory"


def test_a_model_without_prior_says_that_it_cannot_extend(tiny_bundle_without_prior):
    engine = Engine(Translator.load(tiny_bundle_without_prior))
    (outcome,) = engine.compose(
        [ComposeJob(image=picture(0), chain=chain({"extend": {"right": 8}}))]
    )
    assert isinstance(outcome, Failure)
    assert "no prior" in outcome.reason


def test_a_job_that_takes_too_long_is_stopped_and_told_so(translator):
    patient, hasty = Engine(translator, max_seconds=600), Engine(translator, max_seconds=0.002)
    jobs = [
        ComposeJob(image=picture(1), chain=chain({"extend": {"right": 64}}), seed=1),
    ]
    assert same(patient.compose(jobs)[0], Engine(translator).compose(jobs)[0])
    (outcome,) = hasty.compose(jobs)
    assert outcome == Failure(
        "it was stopped after 0.002 s of computing: send smaller images, or ask for less at a time"
    )
    (outcome,) = hasty.translate([to_winter(1, image=picture(1, 300, 300))])
    assert isinstance(outcome, Failure)
    assert not outcome.internal


def test_what_is_computed_ends_when_nobody_waits_for_it(engine):
    asked = []

    def after(count: int):
        def given_up() -> bool:
            asked.append(count)
            return len(asked) > count

        return given_up

    job = ComposeJob(image=picture(1), chain=chain({"extend": {"right": 64}}), seed=1)
    (outcome,) = engine.compose([job], [after(40)])
    assert outcome == Failure("nobody waits for it any more")
    assert len(asked) == 41


def test_a_job_that_is_given_up_does_not_take_those_that_share_its_batch_along(engine):
    jobs = [to_winter(1), to_winter(2), to_winter(3, image=picture(3, 40, 40))]
    made = engine.translate(jobs, [lambda: True, lambda: False, lambda: True])
    assert same(made[1], engine.translate([jobs[1]])[0])
    assert made[2] == Failure("nobody waits for it any more")


def test_the_smallest_image_can_be_translated(engine):
    assert engine.translate([to_winter(0, image=picture(0, 1, 1))])[0][0].shape == (1, 1, 3)

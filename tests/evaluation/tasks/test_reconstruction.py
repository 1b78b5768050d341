"""Rebuilt images, codes in use, bits per token."""

import math

import pytest
import torch

from evaluation.tasks.context import Context
from evaluation.tasks.controls import OTHER, UNIFORM, UNIGRAM
from evaluation.tasks.reconstruction import codebook, likelihood, reconstruction
from tests.evaluation.tasks.conftest import TESTS
from vqi2i import Translator


def test_rebuilt_images_are_compared_with_themselves_and_with_others(
    context: Context, model: Translator
) -> None:
    part = reconstruction(context, model, "summer")
    psnr = part.measurement.get("psnr")
    assert psnr is not None
    assert psnr.images == TESTS
    assert 0 < psnr.controls[OTHER] < 40
    assert part.each["psnr"].mean() == pytest.approx(psnr.value)
    assert part.cases is not None
    assert (part.cases.columns["input"].shape, len(part.cases.labels)) == ((8, 32, 32, 3), 8)


def test_codes_are_counted_over_all_domains(context: Context, model: Translator) -> None:
    found = codebook(context, model).measurement
    used, dead = found.get("codes_used"), found.get("dead_codes")
    assert used is not None
    assert dead is not None
    assert used.images == 2 * TESTS
    assert used.value * 16 + dead.value == pytest.approx(16)


def test_a_prior_that_knows_nothing_needs_the_bits_of_all_codes(
    context: Context, model: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "evaluation.tasks.reconstruction.nats_per_token",
        lambda _, tokens, __: torch.full((len(tokens),), math.log(16)),
    )
    found = likelihood(context, model, "winter").measurement.get("bits_per_token")
    assert found is not None
    assert found.value == pytest.approx(4) == found.controls[UNIFORM]
    assert found.controls[UNIGRAM] <= 4


def test_images_smaller_than_the_window_are_a_gap(context: Context, model: Translator) -> None:
    assert model.prior is not None
    config = model.prior.config.model_copy(update={"window": (32, 32)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.prior, "config", config)
        found = likelihood(context, model, "summer").measurement
    assert found.estimates == ()
    assert "8x8 tokens, the prior's window 32x32" in found.gaps[0]

"""Translations are measured against the target, the source, the truth, and what needs no model."""

import numpy as np
import pytest
import torch

from evaluation.metrics.kid import kid
from evaluation.parts import Part
from evaluation.results import Estimate
from evaluation.tasks.context import Context
from evaluation.tasks.controls import FLOOR, HELD_OUT, IDENTITY, OTHER, REINHARD
from evaluation.tasks.translation import translation
from tests.evaluation.tasks.conftest import TESTS, Returns
from vqi2i import Translator

SUMMER, WINTER = "summer", "winter"


def figure(part: Part, measure: str) -> Estimate:
    found = part.measurement.get(measure)
    assert found is not None, measure
    return found


@pytest.fixture(scope="module")
def returned(context: Context) -> Part:
    return translation(context, Returns(), SUMMER, WINTER, "none")


@pytest.mark.parametrize(
    "measure",
    ["kid_lite0", "kid_lite0_places", "domain_accuracy", "niqe", "sharpness", "specks"],
)
def test_who_returns_the_input_gets_the_figure_of_the_control(returned: Part, measure: str) -> None:
    found = figure(returned, measure)
    assert found.value == pytest.approx(found.controls[IDENTITY], rel=1e-6)


def test_who_returns_the_input_keeps_all_of_the_content(returned: Part) -> None:
    found = figure(returned, "structure")
    assert found.value == pytest.approx(0, abs=1e-4)
    assert 0 < found.controls[REINHARD] < found.controls[OTHER]


def test_every_figure_says_of_how_many_images_it_is(returned: Part) -> None:
    assert {each.images for each in returned.measurement.estimates} == {TESTS}
    assert figure(returned, "kid_lite2").controls[FLOOR] < figure(returned, "kid_lite2").value
    assert 0.5 < figure(returned, "domain_accuracy").controls[HELD_OUT] <= 1


def test_intervals_hold_their_figures(returned: Part) -> None:
    for found in returned.measurement.estimates:
        assert found.low is not None
        assert found.high is not None
        # A bootstrap of a distance is not centred: resampled sets differ more than whole ones.
        assert found.low <= found.high
        if not found.measure.startswith("kid"):
            assert found.low <= found.value <= found.high


def test_the_truth_has_no_distance_to_itself(known_truth: Context) -> None:
    class Oracle(Returns):
        def translate(self, images: torch.Tensor, **_: object) -> torch.Tensor:
            truth = known_truth.images.truths[SUMMER, WINTER].truth
            assert truth is not None
            return torch.from_numpy(truth).permute(0, 3, 1, 2).float() / 127.5 - 1

    found = translation(known_truth, Oracle(), SUMMER, WINTER, "none")
    assert figure(found, "psnr").value == 100
    assert figure(found, "ssim").value == pytest.approx(1)
    assert figure(found, "st_lpips").value == pytest.approx(0, abs=1e-6)
    assert figure(found, "edges").value == pytest.approx(1)
    assert figure(found, "psnr").controls[IDENTITY] < 30
    assert (
        set(found.cases.columns) == {"input", "exemplar", "result", "truth"} if found.cases else 0
    )


def test_cases_run_from_the_lowest_figure_to_the_highest(
    context: Context, model: Translator
) -> None:
    found = translation(context, model, WINTER, SUMMER, "exemplar")
    assert found.cases is not None
    assert (
        list(found.cases.labels)
        == ["lowest"] * 2 + ["middle"] * 2 + ["highest"] * 2 + ["as it comes"] * 2
    )
    assert found.cases.measure == "structure"
    ranked = list(found.cases.figures[:6])
    assert ranked == sorted(ranked)
    assert found.each["structure"].max() == pytest.approx(ranked[-1])
    assert found.each["structure"][:2] == pytest.approx(found.cases.figures[6:])
    first = context.images.domains[WINTER].test[:2]
    assert np.array_equal(found.cases.columns["input"][6:], first)


def test_styles_change_what_is_made_and_the_seed_decides_them(
    context: Context, model: Translator
) -> None:
    by_example, sampled, again = (
        translation(context, model, SUMMER, WINTER, style)
        for style in ("exemplar", "sampled", "sampled")
    )
    assert by_example.measurement.name == "translation-summer-winter-exemplar"
    features = [part.features["lite0"] for part in (by_example, sampled, again)]
    assert not np.allclose(features[0], features[1])
    assert (features[1] == features[2]).all()
    assert again.measurement == sampled.measurement


def test_within_a_domain_nothing_has_to_arrive(context: Context, model: Translator) -> None:
    found = translation(context, model, SUMMER, SUMMER, "exemplar").measurement
    assert found.name == "restyling-summer-summer-exemplar"
    assert found.get("domain_accuracy") is None
    assert found.get("structure") is not None


def test_pictures_of_test_images_are_compared_with_training_images(context: Context) -> None:
    found = figure(translation(context, Returns(), SUMMER, SUMMER, "none"), "kid_lite0")
    test, unseen = context.test(SUMMER).features["lite0"], context.unseen(SUMMER)["lite0"]
    assert len(unseen) == TESTS
    assert found.value == pytest.approx(kid(unseen, test))
    # compared with themselves they would be better than any real image
    assert found.value > kid(test, test)

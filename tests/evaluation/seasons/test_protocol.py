"""The protocol: its figures are what their names say, and its criteria tell good models from bad
ones.
"""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from evaluation.metrics.similarity import CEILING, gradient_correlation, psnr
from evaluation.seasons.domain_classifier import DomainClassifier
from evaluation.seasons.protocol import (
    CRITERIA,
    PairEvaluation,
    Tally,
    evaluate_pairs,
    verdicts,
)
from evaluation.tasks.color_transfer import reinhard
from imaging import to_pixels, to_tensor
from vqi2i import Encoded, Translator

Pairs = dict[tuple[str, str], Any]
CODES = 16


class KnowsTheTruth:
    """A perfect translator: it recognises each source and shows the truth of it.

    The first token is the number of the image, its style says whose style it is: -1 for an
    exemplar.
    """

    network = SimpleNamespace(codebook_size=CODES)

    def __init__(self, triples: Pairs):
        self.triples = triples

    def encode(self, images: Tensor, domain: str) -> Encoded:
        numbers = [self._number(pixels, domain) for pixels in to_pixels(images)]
        tokens = (
            torch.tensor(numbers).clamp_min(0)[:, None, None] + torch.arange(CODES).view(4, 4)
        ) % CODES
        return Encoded(tokens, torch.tensor(numbers).sign()[:, None].float())

    def decode(self, tokens: Tensor, style: Tensor, domain: str) -> Tensor:
        paired = next(
            p
            for (source, target), p in self.triples.items()
            if domain == (source, target)[self._place(style)]
        )
        shown = paired.truth if self._place(style) else paired.source
        return to_tensor(shown[tokens[:, 0, 0].numpy()])

    def _place(self, style: Tensor) -> int:
        return int(style[0, 0] < 0)

    def _number(self, pixels: np.ndarray, domain: str) -> int:
        for (source, _), paired in self.triples.items():
            for number, known in enumerate(paired.source):
                if source == domain and np.array_equal(pixels, known):
                    return number
        return -1


class ReturnsTheInput(KnowsTheTruth):
    """Translates nothing at all."""

    def decode(self, tokens: Tensor, style: Tensor, domain: str) -> Tensor:
        place = self._place(style)
        paired = next(p for pair, p in self.triples.items() if domain == pair[place])
        return to_tensor(paired.source[tokens[:, 0, 0].numpy()])


def verdict_of(evaluation: PairEvaluation) -> dict[tuple[str, str | None], bool | None]:
    return {(verdict.name, verdict.direction): verdict.met for verdict in verdicts(evaluation)}


@pytest.fixture(scope="module")
def evaluation(
    tiny_translator: Translator, triples: Pairs, classifier: DomainClassifier
) -> PairEvaluation:
    return evaluate_pairs(tiny_translator, triples, classifier)


def test_a_perfect_translator_meets_every_criterion(triples: Pairs, classifier: DomainClassifier):
    evaluation = evaluate_pairs(KnowsTheTruth(triples), triples, classifier)  # type: ignore[arg-type]
    assert False not in verdict_of(evaluation).values()
    assert Tally.of(verdicts(evaluation)) == (9, 9)
    for direction in evaluation.directions:
        assert direction.translation.psnr == direction.reconstruction_psnr == CEILING
        assert direction.translation.gradient_correlation == pytest.approx(1, abs=1e-4)
    assert evaluation.codes_used == 1


def test_returning_the_input_fails_where_it_should(triples: Pairs, classifier: DomainClassifier):
    evaluation = evaluate_pairs(ReturnsTheInput(triples), triples, classifier)  # type: ignore[arg-type]
    met = verdict_of(evaluation)
    for direction in evaluation.directions:
        assert direction.psnr_over_identity == 0
        assert direction.translation == direction.identity
        for name in ("psnr_over_identity", "psnr_over_best_control"):
            assert met[name, direction.name] is False
        assert met["reconstruction_psnr", direction.name]
        assert met["domain_accuracy", direction.name] is None


def test_every_direction_is_asked_everything_once(evaluation: PairEvaluation):
    asked = [(verdict.name, verdict.direction) for verdict in verdicts(evaluation)]
    per_direction = {c.name for c in CRITERIA} - {"codes_used"}
    expected = {(name, d.name) for name in per_direction for d in evaluation.directions} | {
        ("codes_used", None)
    }
    assert len(asked) == len(expected) == 13
    assert set(asked) == expected


def test_thresholds_follow_the_direction_and_are_met_when_just_reached(evaluation: PairEvaluation):
    forth, back = evaluation.directions
    no_edges = {"gradient_correlation": 0.0}
    quiet = {
        name: getattr(forth, name).model_copy(update=no_edges)
        for name in ("identity", "exemplar", "reinhard")
    }
    for reached, met in ((0.02, True), (0.0199, False)):
        level = forth.translation.model_copy(update={"gradient_correlation": reached})
        changes = quiet | {"translation": level, "reconstruction_psnr": 23.0}
        same = tuple(d.model_copy(update=changes) for d in (forth, back))
        found = verdict_of(evaluation.model_copy(update={"directions": same}))
        assert found["edges_over_best_control", "summer_to_winter"] is met
        # no model seen so far beats the input's
        assert found["edges_over_best_control", "winter_to_summer"] is None
        assert found["reconstruction_psnr", "winter_to_summer"]


def test_no_trivial_answer_has_better_edges_than_the_best_of_them(evaluation: PairEvaluation):
    for direction in evaluation.directions:
        for name in ("identity", "exemplar", "reinhard"):
            trivial = direction.model_copy(update={"translation": getattr(direction, name)})
            assert trivial.edges_over_best_control <= 0


def test_controls_are_what_their_names_say(
    evaluation: PairEvaluation, triples: Pairs, classifier: DomainClassifier
):
    for direction in evaluation.directions:
        paired = triples[direction.source, direction.target]
        controls = {
            "identity": paired.source,
            "exemplar": paired.exemplar,
            "reinhard": reinhard(paired.source, paired.exemplar),
        }
        for name, images in controls.items():
            scores = getattr(direction, name)
            assert scores.psnr == pytest.approx(psnr(images, paired.truth).mean())
            assert scores.gradient_correlation == pytest.approx(
                gradient_correlation(images, paired.truth).mean()
            )
            assert scores.domain_accuracy == classifier.accuracy(images, direction.target)
        best = max(direction.exemplar.psnr, direction.reinhard.psnr)
        assert direction.psnr_over_best_control == pytest.approx(direction.translation.psnr - best)


def test_model_figures_match_the_public_translator(
    evaluation: PairEvaluation, tiny_translator: Translator, triples: Pairs
):
    direction, paired = evaluation.directions[0], triples["summer", "winter"]
    source = to_tensor(paired.source)
    style = tiny_translator.encode(to_tensor(paired.exemplar), "winter").style

    def pixels(images: Tensor) -> np.ndarray:
        return np.stack(to_pixels(images))

    ours = pixels(tiny_translator.translate(source, source="summer", target="winter", style=style))
    theirs = tiny_translator.translate(
        source.roll(1, 0), source="summer", target="winter", style=style
    )
    own = tiny_translator.encode(source, "summer").style
    rebuilt = tiny_translator.translate(source, source="summer", target="summer", style=own)
    expected = psnr(ours, paired.truth).mean()
    assert direction.translation.psnr == pytest.approx(expected, abs=1e-3)
    lost = expected - psnr(pixels(theirs), paired.truth).mean()
    assert direction.psnr_lost_with_other_tokens == pytest.approx(lost, abs=1e-3)
    assert direction.reconstruction_psnr == pytest.approx(
        psnr(pixels(rebuilt), paired.source).mean(), abs=1e-3
    )


class OneCodePerDomain(ReturnsTheInput):
    """Reads every summer as code 0 and every winter as code 1."""

    def encode(self, images: Tensor, domain: str) -> Encoded:
        tokens = torch.full((len(images), 4, 4), int(domain == "winter"))
        return Encoded(tokens, torch.full((len(images), 1), -1.0))


def test_codes_are_counted_over_sources_and_exemplars(triples: Pairs, classifier: DomainClassifier):
    forth = {("summer", "winter"): triples["summer", "winter"]}
    translator = OneCodePerDomain({**forth, ("winter", "summer"): triples["winter", "summer"]})
    evaluation = evaluate_pairs(translator, forth, classifier)  # type: ignore[arg-type]
    assert evaluation.codes_used == 2 / CODES
    assert evaluation.perplexity == pytest.approx(2)
    assert evaluation.codebook_size == CODES


def test_triples_are_counted_over_all_directions(evaluation: PairEvaluation):
    assert [direction.triples for direction in evaluation.directions] == [7, 5]
    assert evaluation.triples == 7 + 5


def test_the_better_control_counts_whichever_it_is(triples: Pairs, classifier: DomainClassifier):
    paired = triples["summer", "winter"]
    truth = paired.source // 2  # darker, so that moving the colours is all there is to do
    turned = SimpleNamespace(source=paired.source, exemplar=truth[:, ::-1], truth=truth)
    copied = SimpleNamespace(source=paired.source, exemplar=paired.truth, truth=paired.truth)
    for images, best in ((turned, "reinhard"), (copied, "exemplar")):
        pairs = {("summer", "winter"): images}
        direction = evaluate_pairs(KnowsTheTruth(pairs), pairs, classifier).directions[0]  # type: ignore[arg-type]
        assert getattr(direction, best).psnr == max(
            direction.reinhard.psnr, direction.exemplar.psnr
        )
        assert (
            direction.psnr_over_best_control
            == direction.translation.psnr - getattr(direction, best).psnr
        )


def test_the_batch_size_does_not_change_the_figures(
    evaluation: PairEvaluation,
    tiny_translator: Translator,
    triples: Pairs,
    classifier: DomainClassifier,
):
    small = evaluate_pairs(tiny_translator, triples, classifier, batch_size=3)
    for a, b in zip(small.directions, evaluation.directions, strict=True):
        assert a.translation.psnr == pytest.approx(b.translation.psnr, abs=1e-3)
        assert a.psnr_lost_with_other_tokens == pytest.approx(
            b.psnr_lost_with_other_tokens, abs=1e-3
        )


def test_images_of_any_size_are_compared_at_their_own_size(
    tiny_translator: Translator, triples: Pairs, classifier: DomainClassifier
):
    odd = SimpleNamespace(
        **{
            role: images[:, :30, :27]
            for role, images in triples["summer", "winter"]._asdict().items()
        }
    )
    evaluation = evaluate_pairs(tiny_translator, {("summer", "winter"): odd}, classifier)
    assert np.isfinite(evaluation.directions[0].translation.psnr)


def test_an_evaluation_survives_json(evaluation: PairEvaluation):
    text = evaluation.model_dump_json()
    assert PairEvaluation.model_validate_json(text) == evaluation
    assert json.loads(text)["directions"][0]["reinhard"]["psnr"] > 0


def test_too_little_to_evaluate_is_refused(
    tiny_translator: Translator, triples: Pairs, classifier: DomainClassifier
):
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate_pairs(tiny_translator, {}, classifier)
    one = SimpleNamespace(
        **{role: images[:1] for role, images in triples["summer", "winter"]._asdict().items()}
    )
    with pytest.raises(ValueError, match="summer to winter has 1 test triples"):
        evaluate_pairs(tiny_translator, {("summer", "winter"): one}, classifier)

"""Translations against a known truth: what is measured, which controls stand beside it, what counts
as good.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from errors import UserError
from evaluation.metrics.similarity import finite_psnr, gradient_correlation
from evaluation.seasons.domain_classifier import DomainClassifier
from evaluation.tasks.color_transfer import reinhard
from imaging import to_pixels, to_tensor
from imaging.codec import Images
from vqi2i.networks.quantizers import Usage
from vqi2i.translator import Translator


class Paired(Protocol):
    """Test images, uint8 (n, h, w, 3); `truth` is the content of `source` in the style of
    `exemplar`.
    """

    @property
    def source(self) -> Images: ...
    @property
    def exemplar(self) -> Images: ...
    @property
    def truth(self) -> Images: ...


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Scores(_Frozen):
    """How close a set of images comes to the truth; means over images."""

    psnr: float = Field(description="dB to the truth")
    gradient_correlation: float = Field(
        description="of luminance-gradient magnitudes with the truth's, in [-1, 1]"
    )
    domain_accuracy: float = Field(description="share taken for the target domain, in [0, 1]")


class DirectionEvaluation(_Frozen):
    """One direction: the translations in the exemplar's style, and controls that need no model."""

    source: str
    target: str
    triples: int
    translation: Scores
    identity: Scores = Field(description="the input, returned as it is")
    exemplar: Scores = Field(description="the exemplar, returned as it is")
    reinhard: Scores = Field(description="the input with the exemplar's colour statistics")
    truth_domain_accuracy: float = Field(description="what the classifier makes of the true images")
    psnr_over_identity: float
    psnr_over_best_control: float = Field(
        description="over the better of exemplar and Reinhard transfer"
    )
    psnr_lost_with_other_tokens: float = Field(
        description="when the content comes from another test image"
    )
    reconstruction_psnr: float = Field(description="of the source from its own tokens and style")

    @property
    def name(self) -> str:
        """The direction as other places spell it, for example `summer_to_winter`."""
        return f"{self.source}_to_{self.target}"

    @property
    def domain_accuracy(self) -> float:
        return self.translation.domain_accuracy

    @property
    def edges_over_best_control(self) -> float:
        """Correlation of gradients with the truth's, over the best of input, exemplar and Reinhard
        transfer.
        """
        controls = (self.identity, self.exemplar, self.reinhard)
        return self.translation.gradient_correlation - max(
            scores.gradient_correlation for scores in controls
        )


class PairEvaluation(_Frozen):
    """Every direction, and the codebook over all of them."""

    directions: tuple[DirectionEvaluation, ...]
    triples: int
    codebook_size: int
    codes_used: float = Field(
        description="share of codes that occur in the tokens of sources and exemplars"
    )
    perplexity: float = Field(description="of the same tokens, in [1, codebook_size]")


class Criterion(_Frozen):
    """A figure and the least that it has to reach; without a threshold it is shown beside its
    controls alone.
    """

    name: str
    threshold: float | None
    direction: str | None = Field(
        default=None, description="the only direction that it is asked of; every one if None"
    )


# What a trivial answer passes is no criterion: returning the winter's own edges beats any
# translation into summer seen so far, a blurred picture in the right colours is taken for the
# season, and bad translations use all codes as well.
CRITERIA = (
    Criterion(name="psnr_over_identity", threshold=6.0),
    Criterion(name="psnr_over_best_control", threshold=1.5),
    Criterion(name="edges_over_best_control", threshold=0.02, direction="summer_to_winter"),
    Criterion(name="psnr_lost_with_other_tokens", threshold=3.0),
    Criterion(name="reconstruction_psnr", threshold=23.0),
    Criterion(name="edges_over_best_control", threshold=None, direction="winter_to_summer"),
    Criterion(name="domain_accuracy", threshold=None),
    Criterion(name="codes_used", threshold=None),
)


class Verdict(_Frozen):
    """Whether a figure reached its threshold; `direction` is None for figures of the whole
    model.
    """

    name: str
    direction: str | None
    value: float
    threshold: float | None
    met: bool | None = Field(description="None where nothing is asked")


class Tally(NamedTuple):
    """How many criteria are met, of those asked."""

    met: int
    asked: int

    @classmethod
    def of(cls, verdicts: Iterable[Verdict]) -> "Tally":
        """Count verdicts; figures without a threshold count in neither."""
        answers = [verdict.met for verdict in verdicts if verdict.met is not None]
        return cls(sum(answers), len(answers))


def verdicts(
    evaluation: PairEvaluation, criteria: tuple[Criterion, ...] = CRITERIA
) -> list[Verdict]:
    """Hold an evaluation against criteria, criterion by criterion and in each direction that it is
    asked of.
    """
    found: list[Verdict] = []
    for criterion in criteria:
        for direction, value in _values(evaluation, criterion):
            threshold = criterion.threshold
            met = None if threshold is None else value >= threshold
            found.append(
                Verdict(
                    name=criterion.name,
                    direction=direction,
                    value=value,
                    threshold=threshold,
                    met=met,
                )
            )
    return found


def _values(evaluation: PairEvaluation, criterion: Criterion) -> Iterator[tuple[str | None, float]]:
    if criterion.name in PairEvaluation.model_fields:
        yield None, getattr(evaluation, criterion.name)
        return
    for direction in evaluation.directions:
        if criterion.direction in (None, direction.name):
            yield direction.name, getattr(direction, criterion.name)


def evaluate_pairs(
    translator: Translator,
    triples: Mapping[tuple[str, str], Paired],
    classifier: DomainClassifier,
    *,
    batch_size: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> PairEvaluation:
    """Translate test images with the style of exemplars and compare with the truth and with trivial
    controls.

    Args:
        translator: the model; the figures do not depend on its prior.
        triples: test images of each direction (source domain, target domain), at least two.
        classifier: trained on real images of the target domains.
        batch_size: images that pass through the model at a time; it does not change the figures.
        progress: told (directions done, directions in all).

    Raises:
        UserError: a direction has fewer than two triples, or a domain is unknown.
        ValueError: there are no directions.
    """
    if not triples:
        raise ValueError(
            "there is nothing to evaluate: give the test triples of at least one direction"
        )
    codebook_size = translator.network.codebook_size
    counts = torch.zeros(codebook_size, dtype=torch.long)
    directions: list[DirectionEvaluation] = []
    for (source, target), paired in triples.items():
        if len(paired.source) < 2:
            raise UserError(
                f"{source} to {target} has {len(paired.source)} test triples: give at least two"
            )
        shown = _show(translator, paired, source, target, batch_size)
        counts += torch.bincount(shown.tokens.flatten(), minlength=codebook_size)
        directions.append(_direction(paired, shown, classifier, source, target))
        if progress:
            progress(len(directions), len(triples))
    usage = Usage.of(counts)
    return PairEvaluation(
        directions=tuple(directions),
        triples=sum(direction.triples for direction in directions),
        codebook_size=codebook_size,
        codes_used=usage.used,
        perplexity=usage.perplexity,
    )


class _Shown(NamedTuple):
    """What the model makes of the triples of one direction."""

    translations: Images
    from_other_tokens: Images  # exemplar's style as above, content of the previous image
    reconstructions: Images
    tokens: Tensor  # of sources and exemplars


def _show(
    translator: Translator, paired: Paired, source: str, target: str, batch_size: int
) -> _Shown:
    height, width = paired.source.shape[1:3]
    batches = [slice(i, i + batch_size) for i in range(0, len(paired.source), batch_size)]

    def encode(images: Images, domain: str) -> tuple[Tensor, Tensor]:
        parts = [translator.encode(to_tensor(images[batch]), domain) for batch in batches]
        return torch.cat([part.tokens for part in parts]), torch.cat([part.style for part in parts])

    def decode(tokens: Tensor, styles: Tensor, domain: str) -> Images:
        parts = [translator.decode(tokens[batch], styles[batch], domain) for batch in batches]
        return np.stack(
            [pixels for part in parts for pixels in to_pixels(part[..., :height, :width])]
        )

    tokens, own_styles = encode(paired.source, source)
    exemplar_tokens, styles = encode(paired.exemplar, target)
    return _Shown(
        translations=decode(tokens, styles, target),
        from_other_tokens=decode(tokens.roll(1, 0), styles, target),
        reconstructions=decode(tokens, own_styles, source),
        tokens=torch.cat([tokens, exemplar_tokens]).cpu(),
    )


def _direction(
    paired: Paired, shown: _Shown, classifier: DomainClassifier, source: str, target: str
) -> DirectionEvaluation:
    def scores(images: Images) -> Scores:
        return Scores(
            psnr=_mean_psnr(images, paired.truth),
            gradient_correlation=float(gradient_correlation(images, paired.truth).mean()),
            domain_accuracy=classifier.accuracy(images, target),
        )

    translation, identity, exemplar = (
        scores(shown.translations),
        scores(paired.source),
        scores(paired.exemplar),
    )
    transferred = scores(reinhard(paired.source, paired.exemplar))
    return DirectionEvaluation(
        source=source,
        target=target,
        triples=len(paired.source),
        translation=translation,
        identity=identity,
        exemplar=exemplar,
        reinhard=transferred,
        truth_domain_accuracy=classifier.accuracy(paired.truth, target),
        psnr_over_identity=translation.psnr - identity.psnr,
        psnr_over_best_control=translation.psnr - max(exemplar.psnr, transferred.psnr),
        psnr_lost_with_other_tokens=translation.psnr
        - _mean_psnr(shown.from_other_tokens, paired.truth),
        reconstruction_psnr=_mean_psnr(shown.reconstructions, paired.source),
    )


def _mean_psnr(images: Images, truths: Images) -> float:
    return float(finite_psnr(images, truths).mean())

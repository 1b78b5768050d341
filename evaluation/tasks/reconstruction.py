"""Images rebuilt from their own tokens and style, and the codes they use."""

import numpy as np
import torch

from evaluation.metrics.codebook import codebook_use
from evaluation.metrics.intervals import Interval
from evaluation.parts import Part
from evaluation.results import Estimate, Measurement
from evaluation.tasks.appearance import naturalness, texture
from evaluation.tasks.context import Context, encoded, in_batches
from evaluation.tasks.controls import OTHER, UNIFORM, UNIGRAM
from evaluation.tasks.distributions import distances, floor_gap
from evaluation.tasks.findings import Findings, cases, mean_of
from evaluation.tasks.nearness import nearness
from vqi2i.priors.likelihood import nats_per_token
from vqi2i.translator import Translator


def reconstruction(context: Context, model: Translator, domain: str) -> Part:
    """Rebuild the test images of a domain."""
    images = context.images.domains[domain]
    height, width = images.test.shape[1:3]

    def make(some: torch.Tensor, first: int) -> torch.Tensor:
        tokens, style = model.encode(some, domain)
        return model.decode(tokens, style, domain)[..., :height, :width]

    made = in_batches(make, images.test)
    seen = context.networks.see(made, maps=False)
    found = Findings()
    found.add(distances(context, "reconstruction", domain, seen))
    controls = {OTHER: np.roll(images.test, 1, axis=0)}
    found.add(nearness(context.networks, made, images.test, controls))
    found.add(naturalness(context, domain, made))
    found.add(texture(context, domain, made, {}))
    measure = "st_lpips" if "st_lpips" in found.each else "psnr"
    columns = {"input": images.test, "result": made}
    return found.part(
        "reconstruction",
        images.keys,
        seen,
        cases(measure, found.each[measure], columns, context.settings.shown),
        source=domain,
        gaps=floor_gap(context, domain, len(made)),
    )


def tokens_of(context: Context, model: Translator, domain: str) -> torch.Tensor:
    """Tokens of a domain's test images (n, rows, columns)."""
    return encoded(model, context.images.domains[domain].test, domain).tokens.cpu()


def codebook(context: Context, model: Translator) -> Part:
    """Which codes the test images of all domains use."""
    tokens = torch.cat([tokens_of(context, model, domain) for domain in context.images.domains])
    use = codebook_use(tokens, model.network.codebook_size)
    images = len(tokens)
    estimates = (
        _estimate("codes_used", use.used, images),
        _estimate("perplexity", use.perplexity, images),
        Estimate(measure="dead_codes", value=use.dead, images=images),
    )
    return Part(Measurement(task="codebook", estimates=estimates))


def _estimate(measure: str, interval: Interval, images: int) -> Estimate:
    value, low, high = interval
    return Estimate(measure=measure, value=value, low=low, high=high, images=images)


def likelihood(context: Context, model: Translator, domain: str) -> Part:
    """Bits that the prior needs for each token of unseen images."""
    assert model.prior is not None
    tokens = tokens_of(context, model, domain)
    rows, columns = window = model.prior.config.window
    if tokens.shape[1] < rows or tokens.shape[2] < columns:
        gap = (
            f"bits per token were not measured: images of {domain} have "
            f"{tokens.shape[1]}x{tokens.shape[2]} tokens, the prior's window {rows}x{columns}"
        )
        return Part(Measurement(task="prior", source=domain, estimates=(), gaps=(gap,)))
    # The middle: grids of the size that the prior was trained on.
    top, left = ((side - part) // 2 for side, part in zip(tokens.shape[1:], window, strict=True))
    grids = tokens[:, top : top + rows, left : left + columns]
    number = torch.full((len(grids),), model.domains.index(domain))
    device = model.device
    values = nats_per_token(model.prior, grids.to(device), number.to(device)).cpu().double()
    values = (values / np.log(2)).numpy()
    size = model.network.codebook_size
    controls = {
        UNIFORM: float(np.log2(size)),
        UNIGRAM: codebook_use(tokens, size, draws=1).entropy,
    }
    estimate = mean_of("bits_per_token", values, controls)
    return Part(
        Measurement(task="prior", source=domain, estimates=(estimate,)),
        keys=context.images.domains[domain].keys,
        each={"bits_per_token": values},
    )

"""A trained baseline: its bundle read and written, images translated."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from baselines.config import BaselineBundleConfig, Method
from baselines.networks import Generators
from errors import UserError
from vqi2i.bundle import (
    BundleError,
    fill,
    identity,
    other_kind,
    read_config_as,
    write_bundle,
)
from vqi2i.checking.typed import check_domain
from vqi2i.networks.batching import CallLimits, in_calls, padded
from vqi2i.networks.layers import channels_last
from vqi2i.seeds import Seeds

_LEAST = 4  # features along a side that every layer can take
_PART = "generators"  # name of the file of weights
_TITLES: dict[Method, str] = {
    "cyclegan": "CycleGAN-style (Zhu et al., ICCV 2017, arXiv 1703.10593)",
    "cut": "CUT-style (Park et al., ECCV 2020, arXiv 2007.15651)",
}


class BaselineTranslator:
    """Generators and what they are called; `translate` is called as that of `vqi2i.Translator`.

    Images are float tensors (b, 3, h, w) in [-1, 1] of any size; they are padded to the stride
    inside and cut back. A picture's translation depends on nothing else in its batch.
    """

    def __init__(
        self,
        generators: Generators,
        method: Method,
        provenance: Mapping[str, Any] | None = None,
        limits: CallLimits | None = None,
    ):
        self.generators = generators.eval().requires_grad_(False)
        self.method: Method = method
        self.provenance = dict(provenance or {})
        self.limits = limits or CallLimits()
        self.network = generators.config

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains, in training order."""
        return self.network.domains

    @property
    def device(self) -> torch.device:
        """Where the weights lie and inputs are moved."""
        return next(self.generators.parameters()).device

    @torch.no_grad()
    def translate(
        self,
        images: Tensor,
        *,
        source: str,
        target: str,
        style: Tensor | None = None,
        seed: Seeds = 0,
    ) -> Tensor:
        """Show images in the target domain.

        Args:
            images: (b, 3, h, w) of domain `source`.
            source: the images' domain.
            target: another one.
            style: None, or a style of no numbers (b, 0): there is nothing to choose.
            seed: changes nothing, since nothing is drawn.

        Raises:
            UserError: the domains are the same or unknown, or a style was given.
        """
        self.check_domain(source)
        self.check_domain(target)
        if source == target:
            raise UserError(
                f"a baseline shows images of {source} in other domains only: choose another target"
            )
        if style is not None and style.shape[1]:
            raise UserError("a baseline has no styles: leave the style out")
        height, width = images.shape[2:]
        whole = padded(images.to(self.device), self.network.stride, least=_LEAST)
        rows = self.limits.rows_for(whole.shape[2] * whole.shape[3])
        made = in_calls(lambda part: self.generators(part, source, target), rows, whole)
        return made[..., :height, :width]

    def check_domain(self, domain: str) -> None:
        """Raise a UserError that lists the domains if `domain` is none of them."""
        check_domain(domain, self.domains)

    def save(self, path: str | Path) -> None:
        """Write the baseline as a bundle; an older bundle at `path` is replaced in one step."""
        config = BaselineBundleConfig(
            method=self.method, network=self.network, provenance=self.provenance
        )
        write_bundle(Path(path), config, {_PART: self.generators}, card=model_card(config))


def load(
    path: str | Path, device: str | torch.device = "cpu", limits: CallLimits | None = None
) -> BaselineTranslator:
    """Load a baseline's bundle directory.

    Args:
        path: the directory.
        device: where the weights go.
        limits: how much a model call may hold.

    Raises:
        BundleError: the directory is not a bundle of a baseline, or a file of it is missing,
            damaged or does not fit.
    """
    path = Path(path)
    config = _read_config(path)
    generators = Generators(config.network)
    fill(generators, path, _PART)
    return BaselineTranslator(
        channels_last(generators.to(device)), config.method, config.provenance, limits
    )


def is_baseline(path: str | Path) -> bool:
    """Whether a bundle holds a baseline.

    Raises:
        BundleError: there is no bundle at `path`.
    """
    return other_kind(Path(path)) == "baseline"


def fingerprint(path: str | Path) -> str:
    """sha256 over a baseline's configuration and weights: the identity of what it computes.

    Raises:
        BundleError: there is no baseline at `path`.
    """
    fields = _read_config(Path(path)).model_dump(mode="json", exclude={"provenance"})
    return identity(fields, Path(path))


def model_card(config: BaselineBundleConfig) -> str:
    """Markdown that describes a baseline by its own configuration and provenance."""
    network = config.network
    lines = [
        f"# Baseline {config.method}: {', '.join(network.domains)}",
        "",
        f"Translates images between {', '.join(network.domains)}, to compare VQ-I2I with. It has "
        "no style and no codebook: a picture has one translation.",
        "",
        "| property | value |",
        "|---|---|",
        f"| nominal size | {network.resolution} px |",
        f"| generators | one for each ordered pair of domains, {network.num_res_blocks} residual "
        f"blocks of {network.level_channels[-1]} channels each |",
        *(f"| {name} | {value} |" for name, value in config.provenance.items()),
        "",
        f"Method: {_TITLES[config.method]}, with the networks and losses of VQ-I2I. A model knows "
        "its training images, and its licence follows theirs.",
        "",
        "```python",
        "from baselines.translator import load",
        'translator = load("PATH")',
        "```",
        "",
    ]
    return "\n".join(lines)


def _read_config(path: Path) -> BaselineBundleConfig:
    if not is_baseline(path):
        raise BundleError(
            f"{path} holds no baseline: load it with `vqi2i.Translator.load`, or give what "
            "`vqi2i train baseline` leaves"
        )
    return read_config_as(BaselineBundleConfig, path)

"""How near pictures come to their truths."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np

from evaluation.metrics.similarity import SSIM_WINDOW, finite_psnr, gradient_correlation, ssim
from evaluation.networks.sight import Networks
from evaluation.tasks.findings import Found, beside
from imaging import to_tensor
from imaging.codec import Images

Near = Callable[..., np.ndarray]  # (n,) of pictures and their `truths`, (n, h, w, 3) each


def nearness(
    networks: Networks, pictures: Images, truth: Images | None, others: Mapping[str, Images]
) -> Iterator[Found]:
    """PSNR, edges, SSIM and ST-LPIPS; nothing where the truth is unknown."""
    if truth is None:
        return
    measures: dict[str, Near] = {"psnr": finite_psnr, "edges": gradient_correlation}
    if min(truth.shape[1:3]) >= SSIM_WINDOW:
        measures["ssim"] = ssim
    for measure, of in (measures | perceptual(networks)).items():
        yield beside(measure, partial(of, truths=truth), pictures, others)


def nearness_inside(
    networks: Networks,
    pictures: Images,
    truth: Images,
    mask: np.ndarray,
    others: Mapping[str, Images],
) -> Iterator[Found]:
    """PSNR and ST-LPIPS of what lies in `mask` (h, w); all around is the truth's own."""
    share = mask.mean()

    def inner_psnr(some: Images, truths: Images) -> np.ndarray:
        # The mean squared error over the inside alone.
        return finite_psnr(some, truths) + 10 * np.log10(share)

    def pasted(some: Images) -> Images:
        return np.where(mask[..., None], some, truth)

    inside = {name: pasted(some) for name, some in others.items()}
    for measure, of in ({"psnr": inner_psnr} | perceptual(networks)).items():
        yield beside(measure, partial(of, truths=truth), pasted(pictures), inside)


def perceptual(networks: Networks) -> dict[str, Near]:
    """ST-LPIPS, where it is installed."""
    if (network := networks.perceptual) is None:
        return {}

    def distance(pictures: Images, truths: Images) -> np.ndarray:
        return network.distance(to_tensor(pictures), to_tensor(truths)).double().numpy()

    return {"st_lpips": distance}

"""Pictures that go on where they were cut: extended to the right, or completed in the middle.

Cut out of test images, so that the truth is known: published tables have none.
"""

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import torch
from torch import Tensor

from evaluation.metrics.seams import Border, repetition_scores, seam_scores, skyline_jumps
from evaluation.parts import Part
from evaluation.tasks.appearance import naturalness
from evaluation.tasks.context import Context, in_batches
from evaluation.tasks.controls import FLOOR, INPAINTED, MIRRORED, OTHER
from evaluation.tasks.distributions import distances, floor_gap
from evaluation.tasks.findings import Findings, Found, cases, mean_of
from evaluation.tasks.nearness import nearness_inside
from imaging.codec import Images
from vqi2i.translator import Translator

REACH = 3  # pixels that inpainting looks at around each


def extension(context: Context, model: Translator, domain: str) -> Part:
    """Show the model the left half of each test image and let it paint the right one.

    A whole image is then continued by half its width, and the rightmost square judged as a set, as
    in Table 2 of the paper.
    """
    images = context.images.domains[domain].test
    seen_part = images.shape[2] // 2
    new = images.shape[2] - seen_part
    seed = context.seed("extension", domain)

    def extended(some: Tensor, first: int, pixels: int) -> Tensor:
        return model.extend(some, domain=domain, right=pixels, seed=seed + first)

    halves = np.ascontiguousarray(images[:, :, :seen_part])
    made = in_batches(lambda some, first: extended(some, first, new), halves)
    wide = in_batches(lambda some, first: extended(some, first, images.shape[2] // 2), images)
    squares = np.ascontiguousarray(wide[:, :, -images.shape[2] :])
    mask = np.zeros(images.shape[1:3], bool)
    mask[:, seen_part:] = True
    controls = {
        OTHER: np.where(mask[..., None], np.roll(images, 1, 0), images),
        MIRRORED: np.concatenate([halves, halves[:, :, ::-1]], 2)[:, :, : images.shape[2]],
    }
    border = Border("vertical", seen_part)
    return _part(context, "extension", domain, made, squares, mask, border, controls)


def completion(context: Context, model: Translator, domain: str) -> Part:
    """Take the middle of each test image away, half of each side, and let the model paint it."""
    images = context.images.domains[domain].test
    seed = context.seed("completion", domain)
    height, width = images.shape[1:3]
    mask = np.zeros((height, width), bool)
    mask[height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    kept = torch.from_numpy(~mask)

    def completed(some: Tensor, first: int) -> Tensor:
        return model.complete(some, mask=kept, domain=domain, seed=seed + first)

    made = in_batches(completed, images)
    hole = mask.astype(np.uint8)
    controls = {
        OTHER: np.where(mask[..., None], np.roll(images, 1, 0), images),
        INPAINTED: np.stack(
            [cv2.inpaint(image, hole, REACH, cv2.INPAINT_TELEA) for image in images]
        ),
    }
    border = Border("vertical", width // 4, (height // 4, height - height // 4))
    return _part(context, "completion", domain, made, made, mask, border, controls)


def _part(
    context: Context,
    task: str,
    domain: str,
    made: Images,
    judged: Images,
    mask: np.ndarray,
    border: Border,
    controls: dict[str, Images],
) -> Part:
    """Figures of pictures that went on in `mask` (h, w).

    Args:
        made: (n, h, w, 3), which the test images are the truth of.
        judged: the pictures that are compared as a set.
    """
    images = context.images.domains[domain]
    seen = context.networks.see(judged, maps=False)
    found = Findings()
    found.add(distances(context, task, domain, seen))
    found.add(nearness_inside(context.networks, made, images.test, mask, controls))
    found.add(naturalness(context, domain, judged))
    found.add(_beside_real("seam", lambda some: seam_scores(some, [border]), made, images.test))
    found.add(
        _beside_real("repetition", lambda some: repetition_scores(some, mask), made, images.test)
    )
    if task == "extension":  # the only border that runs from the sky to the ground
        column = [border.at]
        found.add(
            _beside_real("skyline", lambda some: skyline_jumps(some, column), made, images.test)
        )
    measure = "st_lpips" if "st_lpips" in found.each else "psnr"
    given = np.where(mask[..., None], np.uint8(127), images.test)
    columns = {"input": given, "result": made, "truth": images.test}
    if judged is not made:
        columns["continued"] = judged
    return found.part(
        task,
        images.keys,
        seen,
        cases(measure, found.each[measure], columns, context.settings.shown),
        source=domain,
        gaps=floor_gap(context, domain, len(made)),
    )


def _beside_real(
    measure: str, of: Callable[[Images], np.ndarray], made: Images, real: Images
) -> Iterator[Found]:
    """A figure of continued pictures beside that of real ones, measured at the same places."""
    values, floor = of(made), of(real)
    # Repetition does not exist where all of the new part is smooth.
    there = values[np.isfinite(values)]
    known = floor[np.isfinite(floor)]
    if len(there) and len(known):
        yield mean_of(measure, there, {FLOOR: float(known.mean())}), values

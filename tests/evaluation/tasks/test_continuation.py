"""Extended and completed pictures are held against what was there."""

import numpy as np
import pytest
import torch

from evaluation.parts import Part
from evaluation.tasks.context import Context
from evaluation.tasks.continuation import completion, extension
from evaluation.tasks.controls import FLOOR, INPAINTED, MIRRORED, OTHER
from imaging import to_tensor
from vqi2i import Translator


def value(part: Part, measure: str) -> float:
    found = part.measurement.get(measure)
    assert found is not None
    return found.value


def test_who_paints_what_was_there_reaches_the_truth(
    context: Context, model: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = to_tensor(context.images.domains["summer"].test)

    def seer(_: Translator, images: torch.Tensor, *, right: int, **__: object) -> torch.Tensor:
        if images.shape[3] == 16:  # half an image
            return truth
        return torch.cat([images, images[..., :right]], 3)

    monkeypatch.setattr(Translator, "extend", seer)
    part = extension(context, model, "summer")
    # identical, counted over the new half
    assert value(part, "psnr") == pytest.approx(100 + 10 * np.log10(1 / 2))
    assert value(part, "st_lpips") == pytest.approx(0, abs=1e-6)
    for measure in ("seam", "skyline"):
        found = part.measurement.get(measure)
        assert found is not None
        assert found.value == pytest.approx(found.controls[FLOOR])


def test_extensions_stand_beside_what_needs_no_model(context: Context, model: Translator) -> None:
    part = extension(context, model, "winter")
    psnr = part.measurement.get("psnr")
    assert psnr is not None
    assert set(psnr.controls) == {OTHER, MIRRORED}
    assert part.cases is not None
    assert set(part.cases.columns) == {"input", "result", "truth", "continued"}
    # what the model did not see is not in the picture that shows what it saw
    assert (part.cases.columns["input"][:, :, 16:] == 127).all()


def test_completions_stand_beside_inpainting(context: Context, model: Translator) -> None:
    part = completion(context, model, "winter")
    psnr = part.measurement.get("psnr")
    assert psnr is not None
    assert psnr.controls[INPAINTED] > psnr.controls[OTHER]
    assert part.cases is not None
    assert (part.cases.columns["input"][:, 8:24, 8:24] == 127).all()

"""How different pictures of one source are, beside how different real pictures are."""

import pytest
import torch

from evaluation.tasks.context import Context
from evaluation.tasks.controls import FLOOR
from evaluation.tasks.diversity import diversity
from tests.evaluation.tasks.test_translation import SUMMER, WINTER, figure
from vqi2i import Translator


def test_who_ignores_the_style_has_no_diversity(
    context: Context, model: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = diversity(context, model, SUMMER, WINTER)
    assert figure(found, "diversity").value > 0
    assert figure(found, "diversity").controls[FLOOR] > 0
    assert figure(found, "diversity").images == 3
    monkeypatch.setattr(model, "sample_styles", lambda *_: torch.zeros(3, 4))
    monkeypatch.setattr(Translator, "translate", lambda _, images, **__: images)
    assert figure(diversity(context, model, SUMMER, WINTER), "diversity").value == 0

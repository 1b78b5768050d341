"""Generated pictures: like the real ones, but none of them again."""

import numpy as np
import pytest

from evaluation.tasks.context import Context
from evaluation.tasks.generation import generation
from imaging import to_tensor
from tests.evaluation.tasks.conftest import TESTS
from vqi2i import Translator


def test_as_many_are_made_as_there_are_test_images(context: Context, model: Translator) -> None:
    part = generation(context, model, "summer")
    assert part.measurement.name == "generation-summer-sampled"
    kid = part.measurement.get("kid_lite0")
    assert kid is not None
    assert kid.images == TESTS == len(part.keys)


def test_a_picture_learned_by_heart_is_shown_beside_the_one_it_is(
    context: Context, model: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = context.images.domains["winter"].training

    def by_heart(_: Translator, count: int, **__: object) -> object:
        return to_tensor(training[:count])

    monkeypatch.setattr(Translator, "generate", by_heart)
    part = generation(context, model, "winter")
    nearest = part.measurement.get("nearest")
    assert nearest is not None
    assert nearest.value == pytest.approx(0, abs=1e-4)
    assert part.cases is not None
    assert np.array_equal(part.cases.columns["result"], part.cases.columns["nearest"])

"""Applications as changes of a canvas: what is known stays, whatever the prior, the side or the
size.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from errors import UserError
from tests.conftest import untrained, untrained_masked
from vqi2i import Sampling, Translator
from vqi2i.editing.chain import keep_mask
from vqi2i.editing.context import bounding_box
from vqi2i.editing.editor import Editor, last
from vqi2i.editing.steps import Keep
from vqi2i.priors.infill import infill
from vqi2i.priors.prior import Prior
from vqi2i.seeds import generators

FEW = Sampling(steps=3)


@pytest.fixture(scope="module", params=["causal", "masked"])
def translator(request: pytest.FixtureRequest) -> Translator:
    return untrained() if request.param == "causal" else untrained_masked()


def images(count: int = 1, height: int = 32, width: int = 32) -> torch.Tensor:
    return (
        torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(height * width))
        * 2
        - 1
    )


def test_an_extension_keeps_the_tokens_it_grew_from(translator: Translator) -> None:
    editor, batch = Editor(translator), images(2)
    before = editor.from_images(batch, "summer")
    after = last(
        editor.extended(before, FEW, generators(0, 2, "tokens"), left=9, right=16, top=4, bottom=7)
    )
    rows, columns = (after.offset[0] + 4) // 4, (after.offset[1] + 9) // 4
    assert after.size == (32 + 4 + 7, 32 + 9 + 16)
    read = editor._read_on(before, left=9, right=16, top=4, bottom=7)
    assert torch.equal(after.tokens[:, rows : rows + 8, columns : columns + 8], read.tokens)
    assert after.known.all()


@pytest.mark.parametrize("axis", [2, 3])
def test_the_encoder_sees_a_picture_go_on_where_it_is_extended(
    translator: Translator, axis: int
) -> None:
    editor, side = Editor(translator), "right" if axis == 3 else "bottom"
    batch = images()[:, :, :1].expand(-1, -1, 32, -1)  # stripes that go on as they end
    batch = batch if axis == 3 else batch.transpose(2, 3)
    more = batch.narrow(axis, 31, 1).repeat_interleave(8, dim=axis)
    wide = editor.from_images(torch.cat([batch, more], dim=axis), "summer").tokens[:, :8, :8]
    canvas = editor.from_images(batch, "summer")
    after = last(editor.extended(canvas, FEW, generators(0, 1, "tokens"), **{side: 16}))
    assert torch.equal(after.tokens[:, :8, :8], wide)
    assert not torch.equal(canvas.tokens, wide)


@pytest.mark.parametrize(
    "sides", [{"left": 5}, {"top": 6}, {"left": 3, "right": 9, "top": 1, "bottom": 13}], ids=str
)
@pytest.mark.parametrize(("height", "width"), [(32, 32), (30, 41), (7, 5)])
def test_any_side_of_any_size_grows_by_what_was_asked(
    translator: Translator, sides: dict[str, int], height: int, width: int
) -> None:
    wide = translator.extend(
        images(1, height, width), domain="summer", seed=1, sampling=FEW, **sides
    )
    more = (
        height + sides.get("top", 0) + sides.get("bottom", 0),
        width + sides.get("left", 0) + sides.get("right", 0),
    )
    assert wide.shape == (1, 3, *more)


def test_pixels_put_back_are_the_given_ones_bit_for_bit(translator: Translator) -> None:
    batch = images(1, 30, 41)
    wide = translator.extend(
        batch, domain="summer", left=5, top=6, right=7, bottom=3, feather=0, sampling=FEW
    )
    assert torch.equal(wide[..., 6:36, 5:46], batch)
    soft = translator.extend(
        batch, domain="summer", left=5, top=6, right=7, bottom=3, feather=4, sampling=FEW
    )
    assert torch.equal(soft[..., 10:32, 9:42], batch[..., 4:-4, 4:-4])
    assert not torch.equal(soft[..., 6:36, 5:46], batch)


def test_a_completion_keeps_tokens_and_with_paste_pixels(translator: Translator) -> None:
    editor, batch = Editor(translator), images(1, 30, 41)
    mask = torch.rand(30, 41, generator=torch.Generator().manual_seed(3)) > 0.02
    mask[4:20, 11:30] = False
    photograph = editor.from_images(batch, "summer")
    canvas = last(editor.completed(photograph, mask, FEW, generators(0, 1, "tokens")))
    whole = torch.stack(
        [mask[r * 4 : r * 4 + 4, c * 4 : c * 4 + 4].all() for r in range(8) for c in range(11)]
    )
    kept = whole.view(8, 11)
    assert kept.any()
    read = editor._read_without_lost(editor.from_images(batch, "summer").losing(mask, kept))
    assert torch.equal(canvas.tokens[:, kept], read.tokens[:, kept])
    pasted = translator.complete(batch, mask=mask, domain="summer", feather=0, sampling=FEW)
    assert torch.equal(pasted[..., mask], batch[..., mask])


@pytest.mark.parametrize(
    ("keep", "sides"), [("right", ["left"]), ("bottom-right", ["left", "top"])]
)
def test_completing_what_lies_before_the_kept_part_is_extending_that(
    translator: Translator, keep: Keep, sides: list[str]
) -> None:
    """So that a prior that reads from the top left sees what is kept, too."""
    editor, batch = Editor(translator), images()
    mask = keep_mask(keep, (32, 32))
    rows, columns = bounding_box(mask)
    whole = editor.completed(
        editor.from_images(batch, "summer"), mask, FEW, generators(0, 1, "tokens")
    )
    part = editor.from_images(batch[..., rows, columns], "summer")
    wide = editor.extended(part, FEW, generators(0, 1, "tokens"), **dict.fromkeys(sides, 16))
    assert torch.equal(last(whole).tokens, last(wide).tokens)


@pytest.mark.parametrize("corner", [(16, 20), (28, 12), (8, 28), (28, 28)])
@pytest.mark.parametrize("size", [(4, 4), (4, 12), (8, 4)])
def test_a_kept_part_may_be_smaller_than_what_the_layers_take(
    translator: Translator, corner: tuple[int, int], size: tuple[int, int]
) -> None:
    (top, left), (height, width) = corner, size
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[top : top + height, left : left + width] = True
    made = translator.complete(images(1), mask=mask, domain="summer", feather=0, sampling=FEW)
    assert torch.equal(made[..., mask], images(1)[..., mask])


def test_a_mask_that_keeps_no_token_is_refused(translator: Translator) -> None:
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[1:4, 1:4] = True
    with pytest.raises(ValueError, match="no whole token of 4x4"):
        translator.complete(images(), mask=mask, domain="summer")


def test_a_picture_does_not_depend_on_its_company(translator: Translator) -> None:
    batch = images(5)
    sides = {"left": 8, "top": 4}
    together = translator.extend(batch, domain="summer", seed=3, sampling=FEW, **sides)
    assert torch.equal(
        together[4:], translator.extend(batch[4:], domain="summer", seed=7, sampling=FEW, **sides)
    )


def test_to_the_left_a_causal_prior_continues_the_mirror_image() -> None:
    editor, batch = Editor(untrained()), images()
    canvas = editor.from_images(batch, "summer")
    left = last(editor.extended(canvas, FEW, generators(2, 1, "tokens"), left=16))
    mirror = editor.from_images(batch.flip(3), "summer")
    right = last(editor.extended(mirror, FEW, generators(2, 1, "tokens"), right=16))
    shown = editor.render(replace(right, style=canvas.own)).flip(3)[..., :16]
    read = editor.from_images(torch.cat([shown, batch], dim=3), "summer")
    assert torch.equal(left.tokens[..., :4], read.tokens[..., :4])


def test_upwards_a_causal_prior_continues_the_picture_upside_down_as_it_has_learned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, batch = untrained(), images()
    heard: list[list[int]] = []

    def noting(
        prior: Prior, tokens: Tensor, known: Tensor, domains: Tensor, *rest: Any
    ) -> Iterator[Any]:
        heard.append(domains.tolist())
        return infill(prior, tokens, known, domains, *rest)

    monkeypatch.setattr("vqi2i.editing.editor.infill", noting)
    editor = Editor(model)
    canvas = editor.from_images(batch, "winter")
    up = last(editor.extended(canvas, FEW, generators(2, 1, "tokens"), top=16))
    assert heard == [[3] * len(batch)]  # winter, the second of two domains, upside down
    turned = editor._read_on(
        editor.from_images(batch.flip(2), "winter"), left=0, right=0, top=0, bottom=16
    )
    grown = turned.grown(left=0, right=0, top=0, bottom=16, stride=4, least=1)
    down = last(editor.infilled(grown, FEW, generators(2, 1, "tokens"), upside_down=True))
    shown = editor.render(replace(down, style=canvas.own)).flip(2)[:, :, :16]
    read = editor.from_images(torch.cat([shown, batch], dim=2), "winter")
    assert torch.equal(up.tokens[:, :4], read.tokens[:, :4])


@pytest.mark.parametrize("keep", ["bottom", "bottom-left", "bottom-right", "center"])
def test_a_causal_prior_that_has_not_learned_it_says_that_it_cannot_go_upwards(keep: Keep) -> None:
    model, batch = untrained(upwards=False), images()
    refusal = "cannot continue them upwards: train stage 2 with prior.upwards=true"
    for sides in ({"top": 4}, {"left": 4, "top": 4, "right": 4}):
        with pytest.raises(UserError, match=refusal):
            model.extend(batch, domain="summer", sampling=FEW, **sides)
    with pytest.raises(UserError, match=refusal):
        model.complete(batch, mask=keep_mask(keep, (32, 32)), domain="summer", sampling=FEW)


def test_what_cannot_go_upwards_is_refused_before_anything_is_made() -> None:
    editor = Editor(untrained(upwards=False))
    canvas = editor.from_images(images(), "summer")
    wide = last(editor.extended(canvas, FEW, generators(0, 1, "tokens"), left=5))
    assert wide.offset == (0, 3)
    for begun in (canvas, wide):
        with pytest.raises(UserError, match="cannot continue them upwards"):
            next(editor.extended(begun, FEW, generators(0, 1, "tokens"), left=9, top=2))


def test_without_going_upwards_a_causal_prior_does_all_else() -> None:
    model, batch = untrained(upwards=False), images()
    assert model.extend(batch, domain="summer", left=5, right=4, bottom=4, sampling=FEW).shape == (
        1,
        3,
        36,
        41,
    )
    for keep in ("left", "right", "top", "top-left", "top-right"):
        whole = model.complete(batch, mask=keep_mask(keep, (32, 32)), domain="summer", sampling=FEW)  # type: ignore[arg-type]
        assert whole.shape == batch.shape
    hole = torch.ones(32, 32, dtype=torch.bool)
    hole[8:20, 4:20] = False
    assert model.complete(batch, mask=hole, domain="summer", sampling=FEW).shape == batch.shape


def test_only_a_picture_that_keeps_its_look_takes_its_pixels_back(translator: Translator) -> None:
    with pytest.raises(ValueError, match="keeps its own domain and style"):
        translator.extend(images(), domain="summer", right=8, target="winter", feather=2)
    with pytest.raises(ValueError, match="0 or more"):
        translator.extend(images(), domain="summer", right=8, feather=-1)

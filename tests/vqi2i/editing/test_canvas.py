"""Canvases: where the picture lies on them, and what of it stays when they are cut or grow."""

import torch

from vqi2i.editing.canvas import Canvas, Given, guessed, known_cells

STRIDE = 4


def canvas(*, size: tuple[int, int] = (18, 29), offset: tuple[int, int] = (3, 1)) -> Canvas:
    """6 x 8 cells, each with its own token, around a given picture of which the left is kept."""
    kept = torch.zeros(size, dtype=torch.bool)
    kept[:, :12] = True
    pixels = torch.arange(2.0 * 3 * size[0] * size[1]).view(2, 3, *size)
    own = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    return Canvas(
        tokens=torch.arange(2 * 6 * 8).view(2, 6, 8),
        known=(torch.arange(48) % 3 > 0).view(6, 8),
        size=size,
        offset=offset,
        domain="summer",
        own=own,
        shown_in="summer",
        style=own,
        given=Given(pixels=pixels, kept=kept),
    )


def test_borders_are_what_lies_around_the_picture() -> None:
    assert canvas().borders(STRIDE) == (1, 32 - 1 - 29, 3, 24 - 3 - 18)


def test_a_cut_is_a_picture_of_its_own() -> None:
    before = canvas()
    field = torch.zeros(2, 2, 6, 8)
    part = Canvas(**{**vars(before), "style": field, "feather": 2}).cut(
        slice(1, 4), slice(2, 7), STRIDE
    )
    assert torch.equal(part.tokens, before.tokens[:, 1:4, 2:7])
    assert torch.equal(part.known, before.known[1:4, 2:7])
    assert (part.size, part.offset) == ((12, 20), (0, 0))
    assert part.style is before.own
    assert part.given is not None
    assert before.given is not None
    # The cut begins at pixel (4, 8) of the canvas: at (1, 7) of the picture.
    assert torch.equal(part.given.pixels, before.given.pixels[:, :, 1:13, 7:27])
    assert torch.equal(part.given.kept, before.given.kept[1:13, 7:27])
    edge = before.cut(slice(0, 2), slice(0, 3), STRIDE)
    assert edge.given is not None
    assert not edge.given.kept[:3].any()  # nothing was given beyond the picture
    assert not edge.given.kept[:, :1].any()
    assert edge.given.kept[3:, 1:].all()
    from_nothing = Canvas(**{**vars(before), "given": None})
    assert from_nothing.cut(slice(0, 2), slice(0, 3), STRIDE).given is None


def test_a_canvas_grows_by_whole_cells_and_loses_those_partly_beyond_a_moved_border() -> None:
    before = canvas()
    after = before.grown(left=10, right=5, top=2, bottom=7, stride=STRIDE, least=4)
    # To the left 3 cells for 9 pixels more, above none: there were 3 pixels of room. Below and to
    # the right the last cell was partly beyond the border.
    assert after.size == (18 + 9, 29 + 15)
    assert after.offset == (1, 3)
    assert after.tokens.shape == (2, 7, 12)
    assert torch.equal(after.tokens[:, :5, 3:10], before.tokens[:, :5, :7])
    assert torch.equal(after.known[:5, 3:10], before.known[:5, :7])
    assert int(after.known.sum()) == int(before.known[:5, :7].sum())
    assert after.given is not None
    assert before.given is not None
    assert torch.equal(after.given.pixels[:, :, 2:20, 10:39], before.given.pixels)
    assert int(after.given.kept.sum()) == int(before.given.kept.sum())
    assert bool(after.given.kept[2:20, 10:22].all())


def test_a_canvas_has_the_least_number_of_cells_and_sides_that_stay_keep_theirs() -> None:
    before = canvas()
    same = before.grown(left=0, right=0, top=0, bottom=0, stride=STRIDE, least=4)
    assert torch.equal(same.tokens, before.tokens)
    assert (same.size, same.offset) == (before.size, before.offset)
    larger = before.grown(left=0, right=0, top=4, bottom=0, stride=STRIDE, least=9)
    assert larger.tokens.shape == (2, 9, 9)
    assert torch.equal(larger.tokens[:, 1:7, :8], before.tokens)
    assert larger.offset == (3, 1)
    again = larger.grown(left=0, right=0, top=0, bottom=0, stride=STRIDE, least=4)
    assert torch.equal(again.tokens, larger.tokens)


def test_a_field_of_styles_goes_on_as_it_ends() -> None:
    field = torch.arange(2.0 * 2 * 6 * 8).view(2, 2, 6, 8)
    varied = Canvas(**{**vars(canvas()), "style": field})
    after = varied.grown(left=10, right=5, top=0, bottom=7, stride=STRIDE, least=4).style
    assert after.shape == (2, 2, 7, 12)
    assert torch.equal(after[:, :, :5, 3:10], field[:, :, :5, :7])
    assert torch.equal(after[:, :, 6, 3:10], field[:, :, 4, :7])
    assert torch.equal(after[:, :, :5, 0], field[:, :, :5, 0])
    assert torch.equal(after[:, :, :5, 11], field[:, :, :5, 6])


def test_a_cell_is_known_if_no_pixel_of_it_is_lost() -> None:
    kept = torch.ones(18, 29, dtype=torch.bool)
    kept[5, 7] = False  # at pixel (8, 8) of the canvas
    known = known_cells(kept, canvas(), STRIDE)
    assert known.shape == (6, 8)
    assert (~known).nonzero().tolist() == [[2, 2]]


def test_a_mask_takes_pixels_away() -> None:
    before, mask = canvas(), torch.zeros(18, 29, dtype=torch.bool)
    mask[:, 6:] = True
    known = torch.zeros(6, 8, dtype=torch.bool)
    after = before.losing(mask, known)
    assert after.known is known
    assert after.given is not None
    assert after.given.kept.sum(0).tolist() == [*[0] * 6, *[18] * 6, *[0] * 17]
    assert Canvas(**{**vars(before), "given": None}).losing(mask, known).given is None
    assert not before.is_as_given
    whole = Given(pixels=torch.zeros(2, 3, 18, 29), kept=torch.ones(18, 29, dtype=torch.bool))
    assert Canvas(**{**vars(before), "given": whole}).is_as_given
    assert not Canvas(**{**vars(before), "given": None}).is_as_given


def test_the_most_common_token_of_each_picture_stands_for_what_is_unknown() -> None:
    tokens = torch.tensor([[[5, 5, 9, 9, 9]], [[1, 7, 7, 2, 2]]])
    known = torch.tensor([[True, True, True, False, False]])
    unfinished = Canvas(**{**vars(canvas()), "tokens": tokens, "known": known})
    assert guessed(unfinished).tolist() == [[[5, 5, 9, 5, 5]], [[1, 7, 7, 7, 7]]]
    empty = Canvas(**{**vars(canvas()), "tokens": tokens, "known": torch.zeros(1, 5).bool()})
    assert guessed(empty).tolist() == [[[5] * 5], [[1] * 5]]

import numpy as np
import torch

from training.stages.codebook_sync import RollingUsage
from training.stages.previews import usage_picture


def test_the_picture_shows_how_many_codes_are_used_and_when() -> None:
    nothing, everything, late = torch.zeros(4, 16), torch.ones(4, 16), torch.zeros(4, 16)
    late[3] = 4
    pictures = [usage_picture(history) for history in (nothing, everything, late)]
    assert {(picture.shape, picture.dtype) for picture in pictures} == {
        ((360, 640, 3), np.dtype(np.uint8))
    }
    assert len({picture.tobytes() for picture in pictures}) == 3


def test_the_history_of_usage_begins_with_the_oldest_counts() -> None:
    usage = RollingUsage(2, window=40, slots=4)
    for position in range(0, 70, 10):
        usage.add(torch.tensor([position, 1]), position)
    assert usage.history()[:, 0].tolist() == [30, 40, 50, 60]

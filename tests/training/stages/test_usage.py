"""Usage over the last epoch: what is longer ago is forgotten, how often somebody looks does not
matter.
"""

import torch

from training.stages.codebook_sync import RollingUsage


def counts(*codes: int) -> torch.Tensor:
    return torch.bincount(torch.tensor(codes), minlength=4).float()


def test_codes_of_the_last_epoch_count() -> None:
    usage = RollingUsage(4, window=32, slots=8)
    usage.add(counts(0, 0, 1), 0)
    usage.add(counts(2), 16)
    assert usage.figures()["codes_used"] == 0.75
    assert usage.figures()["dead_codes"] == 1  # looking changes nothing
    usage.add(counts(2), 32)
    assert usage.figures()["codes_used"] == 0.25
    usage.add(counts(3), 1000)
    assert usage.figures() == {"codes_used": 0.25, "perplexity": 1.0, "dead_codes": 3.0}


def test_a_window_shorter_than_a_step_holds_the_last_one() -> None:
    usage = RollingUsage(4, window=2, slots=8)
    for position, code in ((0, 0), (4, 1), (8, 2)):
        usage.add(counts(code), position)
    assert usage.figures()["codes_used"] == 0.25


def test_it_continues_from_its_state() -> None:
    usage, resumed = RollingUsage(4, window=32), RollingUsage(4, window=32)
    usage.add(counts(0), 0)
    resumed.load_state_dict(usage.state_dict())
    for each in (usage, resumed):
        each.add(counts(1), 20)
    assert usage.figures() == resumed.figures()
    assert usage.figures()["codes_used"] == 0.5

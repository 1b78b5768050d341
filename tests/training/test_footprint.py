import numpy as np
import torch

from training.footprint import memory_figures


def test_the_peak_of_the_process_is_told_in_megabytes() -> None:
    before = memory_figures(torch.device("cpu"))["memory/resident"]
    block = np.ones(int(before * 1e6 / 8) + 4_000_000)  # as much again and 32 MB
    after = memory_figures(torch.device("cpu"))["memory/resident"]
    assert block.nbytes / 1e6 + 20 > after - before > 20
    del block
    assert memory_figures(torch.device("cpu")) == {"memory/resident": after}  # a peak

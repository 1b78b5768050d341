"""Batches on their way to the device, beside its work."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Sent(NamedTuple):
    """An array under way."""

    tensor: Tensor
    arrived: torch.cuda.Event | None

    def receive(self) -> Tensor:
        """The tensor, for the stream of work that asks; the stream waits if it must, the host does not."""
        if self.arrived is not None:
            stream = torch.cuda.current_stream(self.tensor.device)
            stream.wait_event(self.arrived)
            self.tensor.record_stream(stream)  # its memory is not given to another batch before that work is done
        return self.tensor


class Transfer:
    """Copies arrays to a device; on a GPU from pinned memory and in a stream of its own, so that it computes on."""

    def __init__(self, device: torch.device):
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def send(self, array: np.ndarray) -> Sent:
        """Begin to copy; the array must not change afterwards."""
        tensor = torch.from_numpy(array)
        if self._stream is None:
            return Sent(tensor, None)
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):  # a thread begins on the first GPU
            there = tensor.pin_memory().to(self._device, non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record()
        return Sent(there, arrived)

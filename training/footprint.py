"""How much memory a training process has taken at most."""

import resource
import sys

import torch

_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
_MB = 1e6


def memory_figures(device: torch.device) -> dict[str, float]:
    """Peaks since the process began, in MB.

    Returns:
        `memory/resident` of the process; on a GPU also `memory/gpu`, what tensors took there, and
        `memory/gpu_reserved`, what PyTorch's allocator holds for them.
    """
    figures = {"memory/resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT / _MB}
    if device.type == "cuda":
        figures["memory/gpu"] = torch.cuda.max_memory_allocated(device) / _MB
        figures["memory/gpu_reserved"] = torch.cuda.max_memory_reserved(device) / _MB
    return figures

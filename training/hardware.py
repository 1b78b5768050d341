"""What a training process makes of its machine: which precision it computes in, and what memory it
takes.
"""

import ctypes
import resource
import sys
from typing import Literal

import torch

Precision = Literal["auto", "bf16", "float32"]
_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
_MB = 1e6
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of mallopt, from malloc.h
# as `torch.cpu.get_capabilities` names them
_NATIVE = (
    "avx512_bf16",
    "amx_bf16",
    "bf16",
    "sve_bf16",
)


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context of a forward pass on `device`; `auto` is bfloat16 only where it is native.

    An AVX2 processor emulates bfloat16 at an eightieth of its float32 rate (docs/LOG.md).
    """
    wanted = precision == "bf16" or (precision == "auto" and has_bfloat16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)


def have_full_float32(precision: Precision) -> None:
    """Let a GPU's convolutions round float32 to TF32 (10 bits of mantissa) unless float32 is what
    was asked for.
    """
    torch.backends.cudnn.allow_tf32 = precision != "float32"


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 by itself."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # also where ATEN_CPU_CAPABILITY tells a newer one to be it
    if torch.backends.cpu.get_cpu_capability() == "AVX2":
        return False
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in _NATIVE)


def keep_freed_memory() -> None:
    """Let glibc keep what tensors give back: returning and fetching it costs a tenth to half of a
    step on CPUs.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_MAX, 0)  # mappings of their own go back at once
        libc.mallopt(_M_TRIM_THRESHOLD, -1)  # never
    except (OSError, AttributeError):  # not glibc
        return


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

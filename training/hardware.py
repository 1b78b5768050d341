"""What a training step computes with: bfloat16 where the processor has it, float32 where it would be emulated."""

from typing import Literal

import torch

Precision = Literal["auto", "bf16", "float32"]
_NATIVE = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")  # as `torch.cpu.get_capabilities` names them


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context of a forward pass on `device`; `auto` is bfloat16 only where it is native.

    An AVX2 processor emulates bfloat16 at an eightieth of its float32 rate (docs/LOG.md).
    """
    wanted = precision == "bf16" or (precision == "auto" and has_bfloat16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)


def have_full_float32(precision: Precision) -> None:
    """Let a GPU's convolutions round float32 to TF32 (10 bits of mantissa) unless float32 is what was asked for."""
    torch.backends.cudnn.allow_tf32 = precision != "float32"


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 by itself."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if torch.backends.cpu.get_cpu_capability() == "AVX2":  # also where ATEN_CPU_CAPABILITY tells a newer one to be it
        return False
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in _NATIVE)

"""bfloat16 where the processor has it, float32 where it would be emulated."""

from types import MappingProxyType

import numpy as np
import pytest
import torch

from training.hardware import autocast, has_bfloat16, have_full_float32, memory_figures

CPU = torch.device("cpu")


@pytest.fixture
def processor(monkeypatch):
    """Pretend that the CPU can do nothing but what is named."""

    def pretend(*names: str, told_to_be: str = "AVX512") -> None:
        monkeypatch.setattr(
            torch.cpu, "get_capabilities", lambda: MappingProxyType(dict.fromkeys(names, True))
        )
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: told_to_be)

    return pretend


@pytest.mark.parametrize("unit", ["avx512_bf16", "amx_bf16", "bf16", "sve_bf16"])
def test_auto_is_bfloat16_where_the_processor_multiplies_it(processor, unit):
    processor("avx2", unit)
    with autocast(CPU, "auto"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_auto_is_float32_where_bfloat16_would_be_emulated(processor):
    processor("avx2", "avx512_f")
    assert not has_bfloat16(CPU)
    with autocast(CPU, "auto"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_a_processor_that_is_told_to_be_an_older_one_is_taken_for_it(processor):
    processor("avx512_bf16", told_to_be="AVX2")  # as with ATEN_CPU_CAPABILITY=avx2
    assert not has_bfloat16(CPU)


def test_a_precision_that_is_named_is_used_on_any_processor(processor):
    processor("avx2")
    with autocast(CPU, "bf16"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    processor("avx512_bf16")
    with autocast(CPU, "float32"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.parametrize(
    ("precision", "rounded"), [("float32", False), ("bf16", True), ("auto", True)]
)
def test_float32_is_float32_where_it_was_asked_for(precision, rounded, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", not rounded)
    have_full_float32(precision)
    assert torch.backends.cudnn.allow_tf32 == rounded


def test_the_peak_of_the_process_is_told_in_megabytes() -> None:
    before = memory_figures(torch.device("cpu"))["memory/resident"]
    block = np.ones(int(before * 1e6 / 8) + 4_000_000)  # as much again and 32 MB
    after = memory_figures(torch.device("cpu"))["memory/resident"]
    assert block.nbytes / 1e6 + 20 > after - before > 20
    del block
    assert memory_figures(torch.device("cpu")) == {"memory/resident": after}  # a peak

"""VQ-I2I: image translation, generation and extension over vector-quantized content (ECCV 2022), in plain PyTorch."""

from vqi2i.bundle import BundleError
from vqi2i.sampling import Sampling
from vqi2i.translator import Encoded, Translator

__all__ = ["BundleError", "Encoded", "Sampling", "Translator"]

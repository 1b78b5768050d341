"""VQ-I2I: image translation, generation and extension over vector-quantized content (ECCV 2022), in
plain PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vqi2i.bundle import BundleError
    from vqi2i.errors import UserError
    from vqi2i.model import Encoded
    from vqi2i.priors.sampling import Sampling
    from vqi2i.translator import Translator

__all__ = ["BundleError", "Encoded", "Sampling", "Translator", "UserError"]
__version__ = "0.1.0"

_PLACES = {
    "BundleError": "bundle",
    "Encoded": "model",
    "Sampling": "priors.sampling",
    "Translator": "translator",
    "UserError": "errors",
}


def __getattr__(name: str) -> Any:
    """Load PyTorch with the first thing that needs it: the command line looks in here for its
    errors alone.
    """
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)

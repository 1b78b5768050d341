"""Pretrained weights out of the wheels of the optional extra `vqi2i[metrics]`.

A wheel is a data file here: its path comes from the metadata of what is installed, its code is
never imported (parts of one may not be used commercially, docs/LICENCES.md).
"""

import hashlib
import io
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from errors import UserError

REMEDY = "pip install 'vqi2i[metrics]'"


class MissingWeightsError(UserError):
    """A metric cannot be measured because the weights of its network are not installed."""


class WeightFile(NamedTuple):
    """A file inside a wheel, and the only content that is accepted."""

    network: str  # as sentences call it
    wheel: str  # name on PyPI
    path: str  # inside the wheel
    sha256: str


def read_weights(file: WeightFile) -> dict[str, Tensor]:
    """The tensors of a weight file by name, on the CPU.

    Raises:
        MissingWeightsError: the extra is not installed, or another version of its wheel is.
    """
    data = _located(file).read_bytes()
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise MissingWeightsError(
            f"{file.network}: {Path(file.path).name} of the installed {file.wheel} has not the "
            f"sha256 {file.sha256[:16]}... that is asked for: uninstall it, then {REMEDY}"
        )
    # What was hashed is what is read: the file is not opened again.
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _located(file: WeightFile) -> Path:
    try:
        path = Path(str(distribution(file.wheel).locate_file(file.path)))
    except PackageNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise MissingWeightsError(
            f"{file.network} needs the weights in the package {file.wheel}, which is not "
            f"installed: {REMEDY}"
        ) from None
    return path

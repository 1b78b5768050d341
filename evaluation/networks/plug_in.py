"""A network of the user's own as features: Inception for FID, DINOv2, CLIP for CMMD, any other.

None of them comes with this code. One is given as a file of TorchScript or `torch.export`, or as a
Python function, and named by its sha256, since figures of different networks do not compare.
"""

import hashlib
import importlib
import importlib.util
import io
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor
from torch.export.passes import move_to_device_pass

from errors import UserError, first_line, named
from vqi2i.checking.frozen import Frozen
from vqi2i.checking.typed import at_home
from vqi2i.checking.validation import checked

Network = Callable[[Tensor], Any]
Pixels = Literal["-1..1", "0..1", "0..255", "imagenet", "clip"]
BATCH_SIZE = 32
# What is taken from pixels in [0, 1], and by what they are then divided, red, green and blue.
SCALES: dict[Pixels, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "-1..1": ((0.5,) * 3, (0.5,) * 3),
    "0..1": ((0.0,) * 3, (1.0,) * 3),
    "0..255": ((0.0,) * 3, (1 / 255,) * 3),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}


class PlugInSpec(Frozen):
    """Which network, and how it wants its images."""

    source: str = Field(description="a file, or MODULE:FUNCTION of Python that can be imported")
    sha256: str = Field(
        default="", pattern="^([0-9a-f]{64})?$", description="of the file, or of the module's file"
    )
    name: str = Field(default="", description="as reports call it; empty: as the file is called")
    size: int | None = Field(
        default=None, gt=0, description="both sides in pixels; absent: images stay as they are"
    )
    pixels: Pixels = Field(default="-1..1", description="the scale of what goes in")

    @property
    def title(self) -> str:
        """What it is called."""
        return self.name or Path(self.source.rpartition(":")[2]).stem


class PlugIn:
    """Features of images by somebody's network.

    Attributes:
        name: as reports call it.
        sha256: of what computes.
    """

    def __init__(self, spec: PlugInSpec, network: Network, device: str = "cpu"):
        self.name = spec.title
        self.sha256 = spec.sha256
        self._spec = spec
        self._network = network
        self._device = device

    @property
    def identity(self) -> str:
        """All that decides the features."""
        return self._spec.model_dump_json(exclude={"source", "name"})

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Features of images, in batches of 32.

        Args:
            images: (n, 3, h, w) in [-1, 1], of any size that the network takes.

        Returns:
            (n, d), float32 on the CPU; d is the network's.

        Raises:
            UserError: the network fails, or gives something else.
        """
        return torch.cat([self._batch(batch) for batch in images.split(BATCH_SIZE)])

    def _batch(self, images: Tensor) -> Tensor:
        shown = self._prepared(images.to(self._device))
        try:
            found = self._network(shown)
        except Exception as error:  # it may raise anything: it is not ours
            raise UserError(
                f"the plug-in {self.name} fails on images {tuple(shown.shape)} "
                f"({first_line(error)}): give the size= that it takes, or mend it"
            ) from error
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(images):
            what = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise UserError(
                f"the plug-in {self.name} gives {what} for {len(images)} images, not "
                f"({len(images)}, d) numbers: wrap it so that it does"
            )
        if not found.isfinite().all():
            raise UserError(
                f"the plug-in {self.name} gives numbers that are not finite: check the pixels= "
                "that it takes"
            )
        return found.float().cpu()

    def _prepared(self, images: Tensor) -> Tensor:
        """Images (b, 3, h, w) as the network wants them."""
        if (size := self._spec.size) is not None and images.shape[2:] != (size, size):
            images = F.interpolate(
                images, (size, size), mode="bicubic", antialias=True, align_corners=False
            )
        mean, deviation = (
            torch.tensor(each, device=images.device)[:, None, None]
            for each in SCALES[self._spec.pixels]
        )
        return ((images.clamp(-1, 1) + 1) / 2 - mean) / deviation


def parse_plug_in(text: str) -> PlugInSpec:
    """`SOURCE,NAME=VALUE,...`, as options of the command line give it.

    For example `inception.pt,sha256=...,size=299,pixels=0..1`.

    Raises:
        UserError: it is not that; the message names the part.
    """
    source, *settings = text.split(",")
    values: dict[str, object] = {"source": source}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UserError(
                f"{setting!r} of the plug-in {source} is no setting: write "
                "FILE,sha256=...,size=299,pixels=0..1"
            )
        values[name.strip()] = value.strip()
    return checked(PlugInSpec, values, f"the plug-in {source}")


def load_plug_in(spec: PlugInSpec, device: str = "cpu") -> PlugIn:
    """Load a network, if it is the one that its sha256 says.

    Both kinds run code: the sha256 is checked before any of it does.

    Args:
        spec: which network.
        device: where a file's weights go; a function sees images there.

    Raises:
        UserError: it is not there, is another one, or cannot be loaded.
    """
    module, _, function = spec.source.rpartition(":")
    if module and not at_home(spec.source).exists():
        return PlugIn(spec, _function(spec, module, function), device)
    path = at_home(spec.source)
    with named(path):
        data = path.read_bytes()
    _check(spec, data)
    return PlugIn(spec, _program(spec, data, device), device)


def _check(spec: PlugInSpec, data: bytes) -> None:
    found = hashlib.sha256(data).hexdigest()
    if not spec.sha256:
        raise UserError(
            f"the plug-in {spec.source} is not pinned: add sha256={found} if it is the one you mean"
        )
    if found != spec.sha256:
        raise UserError(
            f"the plug-in {spec.source} has the sha256 {found}, not {spec.sha256}: it is another "
            "one or damaged"
        )


def _program(spec: PlugInSpec, data: bytes, device: str) -> Network:
    """The network in a file; what was hashed is what is read."""
    try:
        if _is_export(data):
            program = torch.export.load(io.BytesIO(data))
            return move_to_device_pass(program, device).module()
        with warnings.catch_warnings():
            # torch prefers `torch.export` by now, but what people have is TorchScript
            warnings.filterwarnings("ignore", r"`torch\.jit\.load` is deprecated")
            return torch.jit.load(io.BytesIO(data), map_location=device).eval()
    except Exception as error:  # damaged files raise whatever the reader stumbles over
        raise UserError(
            f"the plug-in {spec.source} is no file of TorchScript or torch.export "
            f"({first_line(error)[:120]}): save it with torch.jit.save or torch.export.save"
        ) from error


def _is_export(data: bytes) -> bool:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return any(name.endswith("/archive_format") for name in archive.namelist())


def _function(spec: PlugInSpec, module: str, function: str) -> Network:
    try:
        found = importlib.util.find_spec(module)
        origin = found.origin if found is not None else None
    except (ImportError, ValueError):  # a package on the way is none, or the name is no name
        origin = None
    if origin is None or not Path(origin).is_file():
        raise UserError(
            f"the plug-in {spec.source} is neither a file nor a module that can be imported: check "
            "the path, or set PYTHONPATH"
        )
    _check(spec, Path(origin).read_bytes())
    network = getattr(importlib.import_module(module), function, None)
    if not callable(network):
        raise UserError(f"{origin} has no function {function!r}: give MODULE:FUNCTION")
    return network

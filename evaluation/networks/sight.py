"""The networks that metrics look through, and what is not measured without them."""

import hashlib
import io
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple, TypeVar
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from evaluation.networks.efficientnet_lite import EfficientNetLite
from evaluation.networks.plug_in import PlugIn
from evaluation.networks.random_convolutions import RandomConvolutions
from evaluation.networks.st_lpips import STLPIPS
from evaluation.networks.weights import MissingWeightsError
from imaging import to_tensor
from imaging.codec import Images

Features = NDArray[np.float32]
Network = TypeVar("Network")


class Seen(NamedTuple):
    """What networks say of n pictures."""

    features: Mapping[str, Features]  # (n, d) by network: lite0, lite0_places, random, plug_in
    maps: NDArray[np.float32] | None  # (n, channels, h, w) of lite0, stride 16


class Networks:
    """Pretrained networks where they are installed, random convolutions where they are not.

    Args:
        plug_in: a network of the user's.
        cache: folder that keeps what was seen of real images; None for none.
    """

    def __init__(
        self,
        plug_in: PlugIn | None = None,
        cache: Path | None = None,
    ):
        self._plug_in = plug_in
        self._cache = cache
        self.gaps: list[str] = []
        self.lite0 = self._or_gap(lambda: EfficientNetLite("lite0"))
        self.perceptual = self._or_gap(STLPIPS)
        self._random = RandomConvolutions() if self.lite0 is None else None

    @cached_property
    def lite2(self) -> EfficientNetLite | None:
        """The second opinion."""
        return self._or_gap(lambda: EfficientNetLite("lite2"))

    @property
    def installed(self) -> set[str]:
        """Which of Lite0 and Lite2 are there."""
        there = {"lite0": self.lite0, "lite2": self.lite2}
        return {name for name, network in there.items() if network is not None}

    @property
    def identity(self) -> str:
        """Which networks there are: figures of others do not compare."""
        there = ["lite2" if self.lite2 else "", "st_lpips" if self.perceptual else ""]
        return "+".join([self._looking, *there])

    @property
    def _looking(self) -> str:
        """Which networks `see` looks through."""
        plug_in = self._plug_in.identity if self._plug_in else ""
        return f"{'lite0' if self.lite0 else 'random'}+{plug_in}"

    def _or_gap(self, build: Callable[[], Network]) -> Network | None:
        try:
            return build()
        except MissingWeightsError as error:
            self.gaps.append(str(error))
            return None

    def see(self, images: Images, *, maps: bool = True) -> Seen:
        """Look at pictures, uint8 (n, h, w, 3)."""
        tensors = to_tensor(images)
        features: dict[str, Features] = {}
        found = None
        if self.lite0 is not None:
            pooled, found = self.lite0.extract(tensors)
            features |= {"lite0": pooled.numpy(), "lite0_places": found.mean((2, 3)).numpy()}
        if self._random is not None:
            features["random"] = self._random.features(tensors).numpy()
        if self._plug_in is not None:
            features["plug_in"] = self._plug_in.features(tensors).numpy()
        # In one order of memory, as they are read again: sums over another differ in a last bit.
        kept = None if found is None or not maps else np.ascontiguousarray(found.numpy())
        return Seen({name: np.ascontiguousarray(each) for name, each in features.items()}, kept)

    def see_real(self, images: Images, *, maps: bool = True) -> Seen:
        """As `see`, once for the same pictures: kept under the hash of their pixels."""
        if self._cache is None:
            return self.see(images, maps=maps)
        path = self._cache / f"{self._named(images, maps)}.npz"
        if (kept := _read(path)) is not None:
            return kept
        seen = self.see(images, maps=maps)
        _write(path, seen)
        return seen

    def second_opinion(self, images: Images) -> Features | None:
        """Pooled features of Lite2; None without it."""
        return None if self.lite2 is None else self.lite2.features(to_tensor(images)).numpy()

    def _named(self, images: Images, maps: bool) -> str:
        digest = hashlib.sha256(f"1 {self._looking} {maps} {images.shape}".encode())
        digest.update(np.ascontiguousarray(images).data)
        return digest.hexdigest()


def _read(path: Path) -> Seen | None:
    try:
        # In memory: a file that was cut short would stay open.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kept.files}
    except (OSError, ValueError, EOFError, BadZipFile):  # not there, or cut short
        return None
    maps = arrays.pop("maps", None)
    return Seen(arrays, maps)


def _write(path: Path, seen: Seen) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    maps = {} if seen.maps is None else {"maps": seen.maps}
    # A name of its own: several workers may look at the same images at once.
    with NamedTemporaryFile(dir=path.parent, suffix=".partial", delete=False) as staged:
        np.savez(staged, allow_pickle=False, **seen.features, **maps)
    Path(staged.name).replace(path)

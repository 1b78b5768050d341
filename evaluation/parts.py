"""What each task of an evaluation found, kept on disk: an evaluation goes on from there, and others
are compared with it.

A part is two files, `parts/NAME.npz` and `parts/NAME.json`; the second is written last.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from errors import UserError
from evaluation.results import Measurement
from evaluation.whole_files import write_whole
from imaging.codec import Images
from vqi2i.checking.frozen import Frozen

FOLDER = "parts"
Arrays = Mapping[str, NDArray]


class Cases(NamedTuple):
    """Pictures to look at: the best, the median and the worst ones of a task."""

    labels: Sequence[str]  # (k,) lowest, middle, highest; else why it is shown
    figures: Sequence[float]  # (k,) of the measure that ranks them
    measure: str  # which one
    columns: Mapping[str, Images]  # (k, h, w, 3) each: input, exemplar, result, truth, nearest


class Part(NamedTuple):
    """One task's findings.

    `each` holds (n,) figures of single images by measure, in the order of `keys`; `features` those
    of the pictures made, (n, d) float32 by network.
    """

    measurement: Measurement
    keys: Sequence[str] = ()  # (n,) of the images that went in
    each: Arrays = MappingProxyType({})
    features: Arrays = MappingProxyType({})
    cases: Cases | None = None


class _Kept(Frozen):
    """The second file: what it was measured under, and what was found."""

    key: str
    measurement: Measurement


def write_part(out: Path, part: Part, key: str) -> None:
    """Keep a part; an older one of its name is replaced.

    Args:
        out: the evaluation's folder.
        part: what was found.
        key: identity of all that decides it: model, data, settings, versions.
    """
    arrays: dict[str, NDArray] = {"keys": np.array(part.keys, dtype=str)}
    arrays |= {f"each_{name}": values for name, values in part.each.items()}
    arrays |= {f"features_{name}": values for name, values in part.features.items()}
    if cases := part.cases:
        arrays["cases_labels"] = np.array(cases.labels, dtype=str)
        arrays["cases_figures"] = np.array(cases.figures, dtype=np.float64)
        arrays["cases_measure"] = np.array(cases.measure)
        arrays |= {f"column_{name}": images for name, images in cases.columns.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    path = out / FOLDER / part.measurement.name
    write_whole(path.with_name(f"{path.name}.npz"), buffer.getvalue())
    kept = _Kept(key=key, measurement=part.measurement)
    write_whole(path.with_name(f"{path.name}.json"), kept.model_dump_json(indent=2))


def measured(out: Path, name: str, key: str) -> Measurement | None:
    """What an earlier call found under the same key; None if there is no such part."""
    path = out / FOLDER / f"{name}.json"
    try:
        kept = _Kept.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    whole = kept.key == key and path.with_suffix(".npz").is_file()
    return kept.measurement if whole else None


def read_part(out: Path, measurement: Measurement) -> Part:
    """A part with its arrays.

    Raises:
        UserError: it is not there, or not whole.
    """
    path = out / FOLDER / f"{measurement.name}.npz"
    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
    except FileNotFoundError as error:
        raise UserError(
            f"{path} is missing: `vqi2i evaluate` with the same arguments makes it again"
        ) from error
    except (BadZipFile, EOFError, ValueError) as error:
        raise UserError(
            f"{path} is not whole: remove it, and `vqi2i evaluate` with the same arguments makes "
            "it again"
        ) from error

    def named(prefix: str) -> dict[str, NDArray]:
        return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}

    cases = None
    if "cases_labels" in arrays:
        cases = Cases(
            arrays["cases_labels"].tolist(),
            arrays["cases_figures"].tolist(),
            str(arrays["cases_measure"]),
            named("column_"),
        )
    keys = arrays["keys"].tolist()
    return Part(measurement, keys, named("each_"), named("features_"), cases)

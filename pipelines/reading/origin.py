"""Which images a model was trained on, as its bundle says it: enough to recognise their folders."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipelines.building.inputs import HashCache
from pipelines.building.plan import make_plan
from pipelines.schema import BuildOptions, Manifest

_DATA, _PLAN, _OPTIONS = "data", "plan", "options"
_DIGITS = 12


def origin(manifest: Manifest) -> dict[str, Any]:
    """What a bundle's provenance says of the data set that its model was trained on."""
    return {
        _DATA: manifest.fingerprint[:_DIGITS],
        _PLAN: manifest.plan,
        _OPTIONS: manifest.options.model_dump(mode="json", exclude_defaults=True),
    }


def is_of(provenance: Mapping[str, Any], manifest: Manifest) -> bool:
    """Whether a bundle says that its model was trained on this data set."""
    return provenance.get(_DATA) == origin(manifest)[_DATA]


def comes_from(provenance: Mapping[str, Any], folders: Mapping[str, Path]) -> bool | None:
    """Whether a model was trained on the images in these folders; None if its bundle does not say.

    Args:
        provenance: of the bundle.
        folders: by domain, in the order of the model's domains.
    """
    try:
        options = BuildOptions.model_validate(provenance.get(_OPTIONS))
    except ValidationError:
        return None
    if not all(folder.is_dir() for folder in folders.values()):
        return False
    with tempfile.TemporaryDirectory(prefix="vqi2i-") as nowhere:
        return make_plan(folders, options, HashCache(Path(nowhere))).sha256 == provenance.get(_PLAN)

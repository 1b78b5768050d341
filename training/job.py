"""What is trained on what."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from errors import UserError
from pipelines.storage.remote import local_folder
from pipelines.storage.shard_cache import CacheSettings
from pipelines.storage.shard_files import read_manifest
from training.config import ImagesConfig, Stage1Config, Stage2Config
from training.recipes import recipe as named_recipe
from training.settings import override, with_later
from training.stages.baselines.config import CUTConfig, CycleGANConfig
from vqi2i.bundle import fingerprint, read_config
from vqi2i.checking.frozen import Frozen

# Settings that change nothing of the result: a run may go on with others.
_INCIDENTAL = {
    "schedule": {"log_seconds", "save_every", "save_seconds", "keep_checkpoints", "best"},
    "max_corrupt": True,
    "max_nonfinite": True,
}

_LARGE = 256  # pixels that the larger recipes see


class Job(Frozen):
    """What is trained on what; together with the place it runs, all that decides the result."""

    config: Stage1Config | Stage2Config | CycleGANConfig | CUTConfig
    data: Annotated[str, BeforeValidator(os.fspath)]  # folder or address of the shards
    model: Path | None = None  # stage 1's bundle, for stage 2
    tokens: Path | None = None  # folder for stage 2's token shards; None: beside the shards
    cache: CacheSettings = CacheSettings()
    accept_other_data: bool = False  # whether a run may go on with other data than it began with

    def identity(self) -> dict[str, Any]:
        """What must not change between a run's first start and its resume."""
        return {
            "config": self._decisive(),
            "data": read_manifest(self.data).fingerprint,
            "model": fingerprint(self.model) if self.model is not None else None,
        }

    def begun_as(self, held: Mapping[str, Any]) -> dict[str, Any]:
        """The identity that a run was started with, as it would be written down today: runs that
        began before something could be set go on.
        """
        if not isinstance(before := held.get("config"), Mapping):
            return dict(held)
        return {**held, "config": with_later(before, self._decisive(), self.config)}

    def _decisive(self) -> dict[str, Any]:
        return self.config.model_dump(mode="json", exclude=_INCIDENTAL)

    def remark(self) -> str:
        """That training will see small parts of the pictures alone, with the remedy; nothing if it
        will see more.
        """
        size, crop = read_manifest(self.data).size, self._crop()
        if size < 2 * crop:
            return ""
        larger = (
            ", or choose --recipe plus256 where there is a GPU" if crop < _LARGE <= size else ""
        )
        return (
            f"the images of {self.data} are {size} px, and training sees crops of {crop} px of "
            "them: to show it whole pictures, build them with `vqi2i data shard --size "
            f"{crop}`{larger}"
        )

    def _crop(self) -> int:
        """Side in pixels of what is seen of a picture."""
        if isinstance(self.config, ImagesConfig):
            return self.config.crop
        assert self.model is not None
        return self.config.crop_for(read_config(self.model).network.stride)

    def tokens_root(self) -> Path:
        """Where sets of token shards lie.

        Raises:
            UserError: the shards lie elsewhere, and no folder was given.
        """
        if self.tokens is not None:
            return self.tokens
        if (folder := local_folder(self.data)) is None:
            raise UserError(
                f"{self.data} is not on this machine: name a folder for its token shards with "
                "--tokens"
            )
        return folder / "tokens"


def make_job(
    stage: str,
    *,
    data: str | Path,
    model: Path | None,
    recipe: str,
    settings: Sequence[str] = (),
    tokens: Path | None = None,
    cache: CacheSettings | None = None,
    accept_other_data: bool = False,
) -> Job:
    """A named recipe for the domains of the shards at `data`, with settings `name=value` applied.

    Raises:
        UserError: there is no such data or recipe, or a setting does not fit.
    """
    config = override(named_recipe(stage, recipe, read_manifest(data).domains), settings)
    folder = local_folder(data)
    return Job(
        config=config,
        data=str(folder.absolute()) if folder is not None else str(data),
        model=model.absolute() if model is not None else None,
        tokens=tokens.absolute() if tokens is not None else None,
        cache=cache or CacheSettings(),
        accept_other_data=accept_other_data,
    )

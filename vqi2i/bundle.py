"""Bundles: a model as a directory of `config.json`, safetensors and a model card in words. Never
pickles.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vqi2i.checking.frozen import Frozen
from vqi2i.checking.validation import fault
from vqi2i.config import NetworkConfig, PriorConfig
from vqi2i.errors import UserError, first_line

CONFIG = "config.json"
CARD = "MODEL_CARD.md"
CHECKSUM_TAG = "vqi2i.checksum"  # where a registry keeps what `checksum` says of a bundle
TRAINED_WITH = "trained_with"  # in provenance: names of pretrained networks in the training's loss
# in provenance: `last`, or the figure by which these weights were chosen and on what, for example
# `held_out_psnr on validation`; of a prior's weights with `prior_` before it
CHOSEN = "chosen"


class BundleError(UserError):
    """A directory is not a bundle that can be used; the message says what is wrong with which
    file.
    """


KIND = "kind"  # in `config.json` of models of other packages: what they are called
Config = TypeVar("Config", bound=Frozen)


class BundleConfig(Frozen):
    """What `config.json` holds: enough to build the networks, and where they come from."""

    format_version: Literal[1] = 1
    network: NetworkConfig
    prior: PriorConfig | None = None
    provenance: dict[str, Any] = Field(
        default_factory=dict, description="recipe, data, images seen, metrics"
    )


def check_replaceable(path: Path) -> None:
    """See that a bundle may be written to `path`: nothing is there, an empty folder, or an older
    bundle.

    Raises:
        BundleError: something else is there.
    """
    if path.is_dir():
        there = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))
        if there and CONFIG not in there:
            raise BundleError(
                f"{path} holds other things than a bundle ({there[0]}...): choose another folder"
            )
    elif path.exists():
        raise BundleError(f"{path} is a file: choose a folder for the bundle")


def write_bundle(path: Path, config: Frozen, parts: Mapping[str, nn.Module], *, card: str) -> None:
    """Write a bundle beside `path` and move it there in one step, replacing an older one.

    Raises:
        BundleError: something else than a bundle is there, or there is no room for the weights.
    """
    check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _staging(path) as staging:
        for name, module in parts.items():
            tensors = {
                key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()
            }
            save_file(tensors, staging / f"{name}.safetensors")
        (staging / CONFIG).write_text(config.model_dump_json(indent=2) + "\n")
        (staging / CARD).write_text(card)
        if path.exists():
            retired = Path(tempfile.mkdtemp(prefix=f".{path.name}-old-", dir=path.parent))
            path.rename(retired / path.name)
            staging.rename(path)
            shutil.rmtree(retired)
        else:
            staging.rename(path)


@contextmanager
def _staging(path: Path) -> Iterator[Path]:
    """A folder beside a bundle's place, gone in the end unless it has been moved there."""
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield folder
    except SafetensorError as error:  # what the disk says, in its words
        raise BundleError(
            f"{path} cannot be written ({first_line(error)}): make room, or choose another place"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_config(path: Path) -> BundleConfig:
    """Read a bundle's configuration.

    Raises:
        BundleError: there is no bundle at `path`, it holds a model of another kind, or its
            configuration is not valid.
    """
    if (kind := other_kind(path)) is not None:
        raise BundleError(
            f"{path} holds a {kind}, which can be measured and no more: give the bundle of a "
            "VQ-I2I model, as `vqi2i train stage1` leaves it"
        )
    return read_config_as(BundleConfig, path)


def read_config_as(kind: type[Config], path: Path) -> Config:
    """Read the configuration of a bundle that may hold a model of another package.

    Raises:
        BundleError: there is no bundle at `path`, or its configuration is not valid.
    """
    file, data = Path(path) / CONFIG, _config_bytes(path)
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise BundleError(
            f"{file} is not valid: {fault(error)}; export or download the bundle again"
        ) from error


def other_kind(path: Path) -> str | None:
    """What the model of a bundle is called if it is not one of VQ-I2I.

    Raises:
        BundleError: there is no bundle at `path`.
    """
    data = _config_bytes(path)
    try:
        kind = json.loads(data).get(KIND)
    except (ValueError, RecursionError, AttributeError):  # told by whoever reads all of it
        return None
    return kind if isinstance(kind, str) else None


def check_bundle(path: Path) -> None:
    """See that there is a bundle of any kind at `path`.

    Raises:
        BundleError: there is none, or it is one of VQ-I2I whose configuration is not valid.
    """
    if other_kind(path) is None:
        read_config(path)


def _config_bytes(path: Path) -> bytes:
    file = Path(path) / CONFIG
    if not file.is_file():
        raise BundleError(
            f"{path} is not a bundle: it has no {CONFIG}; give the directory that training wrote"
        )
    return file.read_bytes()


def read_card(path: Path) -> str:
    """Read a bundle's model card.

    Raises:
        BundleError: it is missing.
    """
    try:
        return (Path(path) / CARD).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError as error:
        raise BundleError(
            f"{path} is incomplete: {CARD} is missing; export or download it again"
        ) from error


def read_tensors(path: Path, name: str) -> dict[str, Tensor]:
    """Read the tensors of one part of a bundle.

    Raises:
        BundleError: the file is missing or damaged.
    """
    file = Path(path) / f"{name}.safetensors"
    try:
        return load_file(file)
    except FileNotFoundError as error:
        raise BundleError(
            f"{path} is incomplete: {file.name} is missing; export or download it again"
        ) from error
    except SafetensorError as error:
        raise BundleError(f"{file} is damaged ({error}); export or download it again") from error


def fill(module: nn.Module, path: Path, name: str) -> None:
    """Load one part of a bundle into `module`; every key and shape must match.

    Raises:
        BundleError: keys are missing or unknown, or shapes differ from the configuration's.
    """
    try:
        module.load_state_dict(read_tensors(path, name))
    except RuntimeError as error:
        first = " ".join(str(error).split())[:300]
        raise BundleError(
            f"{path}/{name}.safetensors does not fit its {CONFIG}: {first}"
        ) from error


def fingerprint(path: Path) -> str:
    """sha256 over the bundle's configuration and weights: the identity of what it computes."""
    config = read_config(path)
    fields = config.model_dump(mode="json", exclude={"provenance"})
    if config.prior is not None and not config.prior.upwards:
        # bundles that were made before there was such a prior keep their identity
        del fields["prior"]["upwards"]
    return identity(fields, path)


def identity(fields: Mapping[str, Any], path: Path) -> str:
    """sha256 over fields of a configuration and all weights of a bundle of any kind."""
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode())
    # not what a file manager has left there
    for file in sorted(Path(path).glob("[!.]*.safetensors")):
        digest.update(file.name.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def checksum(path: Path) -> str:
    """sha256 over every file of a bundle by its name: where `fingerprint` says what it computes,
    this says all of it, of a bundle of any kind.

    Raises:
        BundleError: there is no bundle at `path`.
    """
    check_bundle(path)
    digest = hashlib.sha256()
    for file in sorted(file for file in Path(path).rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\n{file.stat().st_size}\n".encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def model_card(config: BundleConfig) -> str:
    """Markdown that describes a bundle by its own configuration and provenance."""
    network = config.network
    can = "translate, restyle, blend styles"
    if config.prior is not None:
        can += ", generate, extend, complete" + ("" if config.prior.all_sides else " (not upwards)")
    lines = [
        f"# VQ-I2I: {', '.join(network.domains)}",
        "",
        f"Translates images between {', '.join(network.domains)}. It can {can}.",
        "",
        "| property | value |",
        "|---|---|",
        f"| nominal size | {network.resolution} px, one token for "
        f"{network.stride}x{network.stride} px |",
        f"| codebook | {network.codebook_size} vectors of {network.embed_dim} numbers |",
        f"| style | {network.style_dim} numbers |",
        f"| prior | {_prior(config)} |",
        *(f"| {name} | {_words(value)} |" for name, value in config.provenance.items()),
        "",
        "Method: Vector Quantized Image-to-Image Translation (ECCV 2022, arXiv 2207.13286). A "
        "model knows its training images: what it was not shown it will not draw well, and its "
        "licence follows the images'.",
        "",
        "```python",
        "from vqi2i import Translator",
        'translator = Translator.load("PATH")',
        "```",
        "",
    ]
    return "\n".join(lines)


def _words(value: object) -> str:
    """A value of provenance; lists without brackets."""
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def _prior(config: BundleConfig) -> str:
    if config.prior is None:
        return "none (stage 2 not trained)"
    prior, (rows, columns) = config.prior, config.prior.window
    return (
        f"{prior.kind} transformer, {prior.num_layers} layers, {prior.width} wide, "
        f"{rows}x{columns} tokens"
    )

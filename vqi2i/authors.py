"""The authors' published checkpoints as our networks.

Sizes are read off the shapes, names are translated.

A file holds `{"model_state_dict": {...}}`; that of stage 2 repeats stage 1's keys behind
`first_stage_model.`, beside `transformer.*`. Domain A of the release is the first of our two
domains, B the second.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vqi2i.checking.validation import checked
from vqi2i.config import DiscriminatorConfig, NetworkConfig, PriorConfig
from vqi2i.errors import UserError, first_line
from vqi2i.networks.autoencoder import Autoencoder
from vqi2i.networks.discriminator import Discriminator
from vqi2i.priors.causal import CausalPrior

# rows and columns of tokens at the published sizes; the nominal resolution is not in a checkpoint
LATENT = 16
_FIRST_STAGE = "first_stage_model."
_PRIOR = "transformer."
# LPIPS, statistics of instance norms that never use them, causal masks
_UNUSED = re.compile(
    r"loss_[ab]\.perceptual_loss\.|.*\.norm\.running_(mean|var)$|.*\.attn\.mask$|.*num_batches_tracked$"
)
# Inside residual and attention blocks, ours -> theirs.
_LAYERS = {"shortcut": "nin_shortcut", "query": "q", "key": "k", "value": "v", "out": "proj_out"}

Modules = dict[str, str]  # names of modules or parameters, ours -> theirs
Weights = dict[str, Tensor]


class Released(NamedTuple):
    """What a pair of checkpoints holds, as networks of ours."""

    autoencoder: Autoencoder
    discriminator: Discriminator


class CheckpointError(UserError):
    """A file is not a checkpoint of the release; the message names the file and the keys."""


def read_checkpoint(path: Path) -> Weights:
    """The weights in a checkpoint file, without what nothing uses.

    Raises:
        CheckpointError: the file is missing or damaged, would run code, or holds no
            `model_state_dict`.
    """
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path} does not exist: give the authors' checkpoint file"
        ) from error
    except IsADirectoryError as error:
        raise CheckpointError(f"{path} is a folder: give the authors' checkpoint file") from error
    except Exception as error:  # damaged files raise whatever the reader stumbles over
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint of weights ({first_line(error)})"
        ) from error
    weights = data.get("model_state_dict") if isinstance(data, dict) else None
    if not isinstance(weights, dict) or not all(
        isinstance(value, Tensor) for value in weights.values()
    ):
        raise CheckpointError(
            f"{path} holds no model_state_dict: it is not a checkpoint of the release"
        )
    return {key: value for key, value in weights.items() if not is_unused(key)}


def read_pair(stage1: Path, stage2: Path | None) -> tuple[Weights, Weights | None]:
    """The weights of stage 1 and, if there is a file, of stage 2.

    Stage 2 must have been trained on this stage 1.

    Raises:
        CheckpointError: a file cannot be used, or the two do not belong together.
    """
    first = read_checkpoint(stage1)
    # A stage-2 file in place of stage 1's: it holds all of stage 1.
    first = first_stage(first) or first
    if stage2 is None:
        return first, None
    second = read_checkpoint(stage2)
    for key, value in first_stage(second).items():
        if key in first and not torch.equal(first[key], value):
            raise CheckpointError(
                f"{stage2} was trained on another stage 1 than {stage1}: {key} differs"
            )
    return first, second


def is_unused(key: str) -> bool:
    """Whether nothing reads a key: perceptual networks, idle statistics and masks."""
    return _UNUSED.match(key.removeprefix(_FIRST_STAGE)) is not None


def network_config(weights: Mapping[str, Tensor], domains: tuple[str, str]) -> NetworkConfig:
    """Sizes of the networks that stage 1's weights belong to.

    Raises:
        CheckpointError: a key that tells a size is missing, or its weights have another form.
        UserError: the names cannot be those of domains, or sizes do not fit each other.
    """

    def shape(key: str, dimensions: int) -> torch.Size:
        return _shape(weights, key, dimensions, "stage-1")

    def numbers(pattern: str) -> list[int]:
        return sorted({int(found[1]) for key in weights if (found := re.match(pattern, key))})

    # Weights of convolutions are (outputs, inputs, height, width).
    base = shape("encoder.conv_in.weight", 4)[0]
    levels = numbers(r"encoder\.down\.(\d+)\.block\.")
    widths = [shape(f"encoder.down.{level}.block.0.conv1.weight", 4)[0] for level in levels]
    stride = 2 ** (len(levels) - 1) if levels else 1
    resolution = LATENT * stride
    num_codes, embed_dim = shape("quantize.embedding.weight", 2)
    sizes = {
        "domains": domains,
        "resolution": resolution,
        "patch": 1,
        "base_channels": base,
        "channel_multipliers": tuple(width // base for width in widths),
        "num_res_blocks": len(numbers(r"encoder\.down\.0\.block\.(\d+)\.")),
        # levels that hold attention, each half as fine as the one before
        "attention_resolutions": tuple(
            resolution // 2**n for n in numbers(r"encoder\.down\.(\d+)\.attn\.")
        ),
        "z_channels": shape("encoder.conv_out.weight", 4)[0],
        "embed_dim": embed_dim,
        "codebook_size": num_codes,
        "quantizer": "vq",
        "style_dim": shape("style_enc_a.model.6.weight", 4)[0],
        "style_channels": shape("style_enc_a.model.0.conv.weight", 4)[0],
        "decoder": "per_domain",
        "num_style_blocks": len(numbers(r"decoder_a\.ADAresblocks\.model\.(\d+)\.")),
        "adain": "bottleneck",
    }
    return checked(NetworkConfig, sizes, "the checkpoint gives no network")


def prior_config(weights: Mapping[str, Tensor], num_heads: int) -> PriorConfig:
    """Sizes of the transformer in stage 2's weights; the heads leave no trace in the shapes.

    Raises:
        CheckpointError: the weights hold no transformer.
        UserError: the width is not a multiple of the heads.
    """
    # (1, positions, width): as many coordinates as tokens, on a square grid
    _, block, width = _shape(weights, f"{_PRIOR}pos_emb", 3, "stage-2")
    side = int((block // 2) ** 0.5)
    if 2 * side * side != block:
        raise CheckpointError(
            f"{_PRIOR}pos_emb has {block} positions: not a grid of coordinates and one of tokens"
        )
    if width % num_heads:
        raise UserError(
            f"the transformer is {width} wide, no multiple of {num_heads} heads: give the right "
            "number"
        )
    layers = {
        int(found[1])
        for key in weights
        if (found := re.match(r"transformer\.blocks\.(\d+)\.", key))
    }
    return PriorConfig(
        num_layers=len(layers),
        num_heads=num_heads,
        width=width,
        dropout=0,
        window=(side, side),
        condition="coordinates",
    )


def load_stage1(weights: Mapping[str, Tensor], network: NetworkConfig) -> Released:
    """Networks with the weights of a stage-1 checkpoint.

    Raises:
        CheckpointError: keys are missing or unknown, or shapes differ from the configuration's.
    """
    released = Released(
        Autoencoder(network), Discriminator(_discriminator_config(weights), network.domains)
    )
    both = nn.ModuleDict(released._asdict())
    both.load_state_dict(_translated(weights, _stage1_modules(network), both.state_dict()))
    return released


def load_stage2(
    weights: Mapping[str, Tensor], config: PriorConfig, network: NetworkConfig
) -> CausalPrior:
    """The prior of a stage-2 checkpoint.

    Raises:
        CheckpointError: keys are missing or unknown, or shapes differ from the configuration's.
    """
    prior = CausalPrior(
        config,
        codebook_size=network.codebook_size,
        num_domains=len(network.domains),
        stride=network.stride,
    )
    transformer = {key: value for key, value in weights.items() if key.startswith(_PRIOR)}
    prior.load_state_dict(_translated(transformer, _stage2_modules(config), prior.state_dict()))
    return prior


def first_stage(weights: Mapping[str, Tensor]) -> Weights:
    """Stage 1's weights inside a stage-2 checkpoint."""
    return {
        key.removeprefix(_FIRST_STAGE): value
        for key, value in weights.items()
        if key.startswith(_FIRST_STAGE)
    }


def parameter_names(network: NetworkConfig) -> dict[str, str]:
    """The release's name of each of our stage-1 parameters, which begin with `autoencoder.`."""
    modules = _stage1_modules(network)
    return {
        (ours := f"autoencoder.{name}"): _their_name(ours, modules)
        for name, _ in Autoencoder(network).named_parameters()
    }


def _translated(
    theirs: Mapping[str, Tensor], modules: Modules, ours: Mapping[str, Tensor]
) -> Weights:
    """Their weights under our names, each shape checked; all of both must be used."""
    names = {name: _their_name(name, modules) for name in ours}
    missing = sorted(set(names.values()) - theirs.keys())
    unknown = sorted(theirs.keys() - set(names.values()))
    if missing or unknown:
        found = [
            f"{what} {_listed(keys)}"
            for what, keys in (("lacks", missing), ("holds unknown", unknown))
            if keys
        ]
        raise CheckpointError(f"the checkpoint {' and '.join(found)}")
    for name, key in names.items():
        # There 1x1 convolutions are linear layers and positions have a batch axis: same numbers.
        if theirs[key].numel() != ours[name].numel():
            shapes = tuple(theirs[key].shape), tuple(ours[name].shape)
            raise CheckpointError(
                f"{key} has shape {shapes[0]}, but {shapes[1]} follows from the other keys"
            )
    return {name: theirs[key].reshape(ours[name].shape).float() for name, key in names.items()}


def _their_name(name: str, modules: Modules) -> str:
    """The release's name of one of our parameters.

    Its module's name there, and what follows with the layers' names changed.
    """
    parts = name.split(".")
    # The longest prefix that is a known module.
    for end in range(len(parts), 0, -1):
        module = modules.get(".".join(parts[:end]))
        if module is not None:
            return ".".join([module, *(_LAYERS.get(part, part) for part in parts[end:])])
    raise AssertionError(f"no place in the release is known for {name}")


def _shape(weights: Mapping[str, Tensor], key: str, dimensions: int, stage: str) -> torch.Size:
    """The shape of weights that tell a size."""
    if key not in weights:
        raise CheckpointError(
            f"the checkpoint lacks {key}: it is not a {stage} checkpoint of the release"
        )
    shape = weights[key].shape
    if len(shape) != dimensions or 0 in shape:
        raise CheckpointError(
            f"{key} has shape {tuple(shape)}: it is not that of a {stage} checkpoint of the release"
        )
    return shape


def _listed(keys: Sequence[str], shown: int = 5) -> str:
    rest = f" and {len(keys) - shown} more" if len(keys) > shown else ""
    return ", ".join(keys[:shown]) + rest


def _discriminator_config(weights: Mapping[str, Tensor]) -> DiscriminatorConfig:
    names = [key for key in weights if re.match(r"loss_a\.discriminator\.main\.\d+\.weight$", key)]
    convolutions = [key for key in names if weights[key].ndim == 4]
    if len(convolutions) < 3:
        raise CheckpointError(
            "the checkpoint lacks loss_a.discriminator: it is not a stage-1 checkpoint of the "
            "release"
        )
    # Norms have weights, too, but of one axis. The first convolution and the head are no layers.
    base = weights["loss_a.discriminator.main.0.weight"].shape[0]
    return DiscriminatorConfig(
        base_channels=base, num_layers=len(convolutions) - 2, norm="instance", trunk="per_domain"
    )


def _stage1_modules(network: NetworkConfig) -> Modules:
    modules = {
        "autoencoder.codebook.vectors": "quantize.embedding.weight",
        "autoencoder.content_encoder.to_embedding": "quant_conv",
        "autoencoder.from_embedding": "post_quant_conv",
    }
    for ours, theirs in _encoder_modules(network):
        modules[f"autoencoder.content_encoder.{ours}"] = f"encoder.{theirs}"
    for domain, letter in zip(network.domains, "ab", strict=True):
        for ours, theirs in _decoder_modules(network):
            modules[f"autoencoder.decoders.{domain}.{ours}"] = f"decoder_{letter}.{theirs}"
        style, mlp = f"autoencoder.style_encoders.{domain}", f"autoencoder.style_mlps.{domain}"
        # Ours count convolutions and activations, theirs blocks of both.
        modules |= {
            f"{style}.features.{2 * i}": f"style_enc_{letter}.model.{i}.conv" for i in range(5)
        }
        modules[f"{style}.head"] = f"style_enc_{letter}.model.6"
        modules |= {f"{mlp}.layers.{2 * i}": f"mlp_{letter}.model.{i}.fc" for i in range(3)}
        # The layers before the last carry the same numbers as ours.
        modules[f"discriminator.trunks.{domain}"] = f"loss_{letter}.discriminator.main"
        modules[f"discriminator.heads.{domain}"] = f"loss_{letter}.discriminator.main.11"
    return modules


def _encoder_modules(network: NetworkConfig) -> Iterator[tuple[str, str]]:
    """Modules of the encoder, ours and theirs, in the order in which ours are numbered."""
    numbers, last = count(), len(network.channel_multipliers) - 1
    yield "stem", "conv_in"
    for level in range(last + 1):
        for block in range(network.num_res_blocks):
            yield f"levels.{next(numbers)}", f"down.{level}.block.{block}"
            if network.has_attention(level):
                yield f"levels.{next(numbers)}", f"down.{level}.attn.{block}"
        if level < last:
            yield f"levels.{next(numbers)}", f"down.{level}.downsample"
    yield from (
        ("middle.0", "mid.block_1"),
        ("middle.1", "mid.attn_1"),
        ("middle.2", "mid.block_2"),
    )
    yield from (("head.0", "norm_out"), ("head.2", "conv_out"))


def _decoder_modules(network: NetworkConfig) -> Iterator[tuple[str, str]]:
    """Modules of a decoder, ours and theirs, in the order in which ours are numbered."""
    numbers = count()
    yield "stem", "conv_in"
    for block in range(network.num_style_blocks):
        number = next(numbers)
        for layer in range(2):
            yield (
                f"blocks.{number}.conv{layer + 1}",
                f"ADAresblocks.model.{block}.model.{layer}.conv",
            )
    for part in ("block_1", "attn_1", "block_2"):
        yield f"blocks.{next(numbers)}", f"mid.{part}"
    for level in reversed(range(len(network.channel_multipliers))):
        for block in range(network.num_res_blocks + 1):
            yield f"blocks.{next(numbers)}", f"up.{level}.block.{block}"
            if network.has_attention(level):
                yield f"blocks.{next(numbers)}", f"up.{level}.attn.{block}"
        if level > 0:
            yield f"blocks.{next(numbers)}", f"up.{level}.upsample"
    head = next(numbers)
    yield from ((f"blocks.{head}.norm", "norm_out"), (f"blocks.{head}.conv", "conv_out"))


def _stage2_modules(config: PriorConfig) -> Modules:
    modules = {"embedding": "tok_emb", "positions": "pos_emb", "norm": "ln_f", "head": "head"}
    for layer in range(config.num_layers):
        block = f"blocks.{layer}"
        modules |= {f"{block}.norm{i}": f"{block}.ln{i}" for i in (1, 2)} | {
            f"{block}.mlp": f"{block}.mlp"
        }
        modules |= {f"{block}.{name}": f"{block}.attn.{name}" for name in ("query", "key", "value")}
        modules[f"{block}.out"] = f"{block}.attn.proj"
    return {ours: _PRIOR + theirs for ours, theirs in modules.items()}

"""Builds a stage from its configuration and the files it works on."""

from pathlib import Path
from typing import Any

import torch

from pipelines.shards_to_batches import ShardReader
from pipelines.shards_to_tokens import TokenReader, shards_to_tokens, tokens_folder
from training.config import PerceptualConfig, Stage1Config, Stage2Config
from training.feed import ImageFeed
from training.fetch import sha256_of
from training.stage1 import Stage1
from training.stage2 import Stage2
from training.worker import Worker
from vqi2i.bundle import fingerprint
from vqi2i.translator import Translator


def make_stage(config: Stage1Config | Stage2Config, data: Path, model: Path | None, worker: Worker) -> Stage1 | Stage2:
    """The stage of `config` on the shards at `data`; stage 2 needs stage 1's bundle as `model`.

    Raises:
        ValueError: the parts do not fit each other; the message names the part.
    """
    reader = ShardReader(data)
    provenance: dict[str, Any] = {
        "recipe": config.recipe,
        "seed": config.seed,
        "data": reader.manifest.fingerprint[:12],
    }
    if isinstance(config, Stage1Config):
        provenance["perceptual"] = _described(config.perceptual)
        return Stage1(config, worker, ImageFeed(reader, config, worker), provenance)
    if model is None:
        raise ValueError("stage 2 needs the bundle of stage 1: give it with --model")
    bundle = fingerprint(model)
    tokens = TokenReader(tokens_folder(data, bundle), bundle=bundle)
    return Stage2(config, worker, tokens, Translator.load(model, worker.device), {"prior_recipe": config.recipe})


def _described(perceptual: PerceptualConfig) -> str | dict[str, str]:
    """Which perceptual distance shaped a model: its kind, or the content of the files behind it."""
    if perceptual.kind != "lpips":
        return perceptual.kind
    return {"lpips_vgg": sha256_of(perceptual.vgg), "lpips_heads": sha256_of(perceptual.heads)}


def prepare(config: Stage1Config | Stage2Config, data: Path, model: Path | None) -> None:
    """Make what the stage reads and what is not there yet: stage 2's token shards."""
    if isinstance(config, Stage1Config) or model is None:
        return
    translator = Translator.load(model, "cuda" if torch.cuda.is_available() else "cpu")
    bundle = fingerprint(model)
    crop = config.prior.window[0] * translator.network.stride
    shards_to_tokens(
        ShardReader(data), translator, bundle, tokens_folder(data, bundle), crop=crop, variants=config.variants
    )

"""Builds a stage from its job and the files that it works on."""

from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from errors import UserError
from pipelines.reading.origin import origin
from pipelines.reading.reader import ShardReader
from pipelines.schema import measured_split
from pipelines.shards_to_tokens import TokenSource, shards_to_tokens, token_identity
from pipelines.storage.shard_files import read_manifest
from pipelines.tokens import TokenIdentity, TokenReader
from training.config import ImagesConfig, PerceptualConfig, Stage1Config, Stage2Config
from training.distributed.collectives import Collectives
from training.job import Job
from training.stages.baselines.stage import Baseline
from training.stages.image_batches import ImageFeed
from training.stages.stage1 import Stage1
from training.stages.stage2 import Stage2
from training.stages.weight_files import sha256_of
from vqi2i.bundle import TRAINED_WITH, read_config
from vqi2i.config import NetworkConfig
from vqi2i.translator import Translator

AnyStage = Stage1 | Stage2 | Baseline


def make_stage(job: Job, collectives: Collectives) -> AnyStage:
    """The stage of a job; stage 2 needs stage 1's bundle.

    Raises:
        UserError: the parts do not fit each other; the message names the part.
    """
    config = job.config
    if isinstance(config, ImagesConfig):
        reader = ShardReader(job.data, job.cache)
        provenance: dict[str, Any] = {
            "recipe": config.recipe,
            "seed": config.seed,
            **origin(reader.manifest),
        }
        feed = ImageFeed(reader, config, collectives)
        if not isinstance(config, Stage1Config):
            return Baseline(config, collectives, feed, provenance | {TRAINED_WITH: []})
        perceptual = config.perceptual
        provenance["perceptual"] = _described(perceptual)
        provenance[TRAINED_WITH] = ["vgg16-lpips"] if perceptual.kind == "lpips" else []
        return Stage1(config, collectives, feed, provenance)
    if job.model is None:
        raise UserError("stage 2 needs the bundle of stage 1: give it with --model")
    translator = Translator.load(job.model, collectives.device)
    identity = _tokens_of(job, config, translator.network)
    tokens = TokenReader(job.tokens_root() / identity.sha256[:12], bundle=identity.bundle)
    return Stage2(config, collectives, tokens, translator, {"prior_recipe": config.recipe})


def _described(perceptual: PerceptualConfig) -> str | dict[str, str]:
    """Which perceptual distance shaped a model: its kind, or the content of the files behind it."""
    if perceptual.kind != "lpips":
        return perceptual.kind
    return {"lpips_vgg": sha256_of(perceptual.vgg), "lpips_heads": sha256_of(perceptual.heads)}


def caution(job: Job) -> str:
    """A sentence that a person should read before a training, or nothing."""
    if not job.config.schedule.best:
        return ""  # nothing is chosen
    manifest = read_manifest(job.data)
    validation = {domain: manifest.count("validation", domain) for domain in manifest.domains}
    if measured_split(validation.values()) == "validation":
        return ""
    without = ", ".join(domain for domain, count in validation.items() if not count)
    return (
        f"{job.data} has no validation images of {without}: weights are chosen by its test "
        "images, whose figures are better then than those of new images; build it anew with "
        "`vqi2i data shard --validation 0.1`"
    )


def prepare(job: Job, *, workers: int = 0, console: Console | None = None) -> None:
    """Make what the stage reads and what is not there yet: stage 2's token shards.

    Args:
        job: what is to be trained on what.
        workers: Ray actors that encode; 0 encodes in this process.
        console: where progress is shown; standard error if None.
    """
    if not isinstance(job.config, Stage2Config) or job.model is None:
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    identity = _tokens_of(job, job.config, read_config(job.model).network)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = console or Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("images to tokens", total=None)
        shards_to_tokens(
            TokenSource(job.data, job.cache, job.model),
            identity,
            job.tokens_root() / identity.sha256[:12],
            workers=workers,
            device=device,
            max_corrupt=job.config.max_corrupt,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def _tokens_of(job: Job, config: Stage2Config, network: NetworkConfig) -> TokenIdentity:
    """The tokens that stage 2 learns from."""
    assert job.model is not None
    return token_identity(
        job.model,
        read_manifest(job.data).fingerprint,
        network,
        crop=config.crop_for(network.stride),
        variants=config.variants,
        upside_down=config.prior.upwards,
    )

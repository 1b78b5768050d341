"""vqi2i import-authors: the published checkpoints as a bundle."""

from pathlib import Path
from typing import Annotated

import typer

from commands.console import JsonOption, conclude, replacing
from errors import UserError


def import_authors(
    stage1: Annotated[
        Path,
        typer.Argument(help="The release's stage-1 checkpoint, or a stage-2 one that repeats it."),
    ],
    domains: Annotated[
        str, typer.Option(help="Names of its domains A and B, for example summer,winter.")
    ],
    out: Annotated[Path, typer.Option(help="The bundle to write.")],
    stage2: Annotated[Path | None, typer.Option(help="The release's stage-2 checkpoint.")] = None,
    gpt_heads: Annotated[
        int, typer.Option(min=1, help="Attention heads of the transformer: not in the file.")
    ] = 16,
    data: Annotated[
        str | None, typer.Option(help="Shards of its training images: lets it sample styles.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE of network or prior, where shapes do not tell."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Turn the authors' checkpoints into a bundle that everything here understands.

    Example: vqi2i import-authors yosemite.pt --stage2 yosemite_gpt.pt --domains summer,winter --out
    yosemite
    """
    from training.settings import override
    from vqi2i import authors
    from vqi2i.bundle import CONFIG, BundleConfig, check_replaceable
    from vqi2i.checking.typed import domain_name
    from vqi2i.priors.style_prior import StylePrior
    from vqi2i.translator import Translator

    names = tuple(name.strip() for name in domains.split(","))
    if len(names) != 2:
        raise UserError(
            f"--domains needs the names of A and B, for example summer,winter; got {domains!r}"
        )
    for name in names:
        domain_name(name)
    check_replaceable(out)
    first, second = authors.read_pair(stage1, stage2)
    found = BundleConfig(
        network=authors.network_config(first, names),
        prior=authors.prior_config(second, gpt_heads) if second is not None else None,
    )
    config = override(found, settings or [])
    autoencoder = authors.load_stage1(first, config.network).autoencoder
    prior = None
    if second is not None:
        assert config.prior is not None
        prior = authors.load_stage2(second, config.prior, config.network)
    provenance = {
        "recipe": "the authors' release",
        "files": [path.name for path in (stage1, stage2) if path],
    }
    translator = Translator(autoencoder, StylePrior({}), prior, provenance)
    if data is not None:
        from pipelines.reading.reader import ShardReader
        from training.stages.image_batches import styled

        reader = ShardReader(data)
        translator.fit_styles(
            {name: styled(reader, name, config.network.resolution) for name in names}
        )
    with replacing([out / CONFIG]):
        translator.save(out)
    sampled = "" if data is not None else "; without --data it can only take styles from examples"
    conclude({"bundle": out, **found.model_dump()}, as_json=as_json, sentence=f"{out}{sampled}")

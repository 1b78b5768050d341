"""vqi2i translate, extend, complete, generate, transition, compose: what a trained model does with
images.

Every verb is a chain of steps, as `compose` reads them from a file: the same seed gives the same
pixels either way.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from commands.console import JsonOption, conclude, seed_given
from commands.works import Work, perform, picture_paths, plan
from errors import UserError

if TYPE_CHECKING:
    from vqi2i.editing.chain import Chain
    from vqi2i.translator import Translator

ModelArgument = Annotated[
    str, typer.Argument(help="A bundle directory or an MLflow URI (models:/name@alias).")
]
ImagesArgument = Annotated[list[Path], typer.Argument(help="Image files of any size.")]
ImageArgument = Annotated[Path, typer.Argument(help="An image file of any size.")]
OutOption = Annotated[Path, typer.Option(help="Folder for the results.")]
FromOption = Annotated[
    str | None, typer.Option("--from", help="The images' domain; may be left out with two domains.")
]
ToOption = Annotated[
    str | None, typer.Option(help="Show the result in this domain (default: the image's own).")
]
StyleOption = Annotated[
    Path | None,
    typer.Option(
        help="Image of the domain it is shown in whose style is taken (default: its own)."
    ),
]
SeedOption = Annotated[
    int, typer.Option(help="The same seed gives the same pixels.", callback=seed_given)
]
DrawOption = Annotated[
    list[str] | None,
    typer.Option(
        "--draw",
        help="NAME=VALUE of any setting of sampling: temperature, top_k, steps... ; a wrong one "
        "lists them.",
    ),
]
PasteOption = Annotated[
    int | None,
    typer.Option(
        "--paste",
        min=0,
        help="Put the given pixels back, with a soft border of so many pixels; 0: none.",
    ),
]

Keep = Literal[
    "left",
    "right",
    "top",
    "bottom",
    "top-left",
    "top-right",
    "bottom-left",
    "bottom-right",
    "center",
]


def translate(
    model: ModelArgument,
    images: ImagesArgument,
    to: Annotated[
        str, typer.Option(help="The domain to translate to; the images' own restyles them.")
    ],
    out: OutOption,
    source: FromOption = None,
    style: Annotated[
        Path | None, typer.Option(help="Image of the target domain whose style is taken.")
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, help="Sampled styles per image, if no --style is given.")
    ] = 1,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Translate images to a domain, in an example's style or in sampled styles.

    Example: vqi2i translate runs/demo/bundle photo.jpg --to winter --style snow.jpg --out results
    """
    works = []
    for path in images:
        for sample in range(1 if style is not None else samples):
            suffix = f"_{to}" if style is not None or samples == 1 else f"_{to}_{sample}"
            works.append(Work(path, seed + sample, out / f"{path.stem}{suffix}.png"))
    plan(works, _paths(style))
    translator = load(model)
    chain = _chain(
        source_domain(translator, source, to), {"translate": {"to": to, "style": _name(style)}}
    )
    _finish(perform(translator, chain, works), as_json=as_json)


def extend(
    model: ModelArgument,
    images: ImagesArgument,
    out: OutOption,
    left: Annotated[int, typer.Option(min=0, help="Pixels to add on the left.")] = 0,
    right: Annotated[int, typer.Option(min=0, help="Pixels to add on the right.")] = 0,
    top: Annotated[int, typer.Option(min=0, help="Pixels to add above.")] = 0,
    bottom: Annotated[int, typer.Option(min=0, help="Pixels to add below.")] = 0,
    source: FromOption = None,
    to: ToOption = None,
    style: StyleOption = None,
    paste: PasteOption = None,
    seed: SeedOption = 0,
    draw: DrawOption = None,
    as_json: JsonOption = False,
) -> None:
    """Continue images past their borders, on any sides at once.

    Example: vqi2i extend runs/demo/bundle photo.jpg --from summer --left 32 --right 64 --paste 4
    --out results
    """
    works = plan(
        [Work(path, seed, out / f"{path.stem}_extended.png") for path in images], _paths(style)
    )
    translator = load(model)
    domain = source_domain(translator, source, to)
    sides = {"left": left, "right": right, "top": top, "bottom": bottom, "draw": _settings(draw)}
    chain = _chain(domain, {"extend": sides}, *_finish_steps(domain, to, style, paste))
    _finish(perform(translator, chain, works), as_json=as_json)


def complete(
    model: ModelArgument,
    images: ImagesArgument,
    out: OutOption,
    keep: Annotated[Keep | None, typer.Option(help="The part that stays.")] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Image of the same size: white stays, black is imagined.")
    ] = None,
    source: FromOption = None,
    to: ToOption = None,
    style: StyleOption = None,
    paste: PasteOption = None,
    seed: SeedOption = 0,
    draw: DrawOption = None,
    as_json: JsonOption = False,
) -> None:
    """Imagine the missing part of images.

    Example: vqi2i complete runs/demo/bundle photo.jpg --from summer --keep left --out results
    """
    if (keep is None) == (mask is None):
        raise UserError("say what stays: either --keep or --mask")
    works = plan(
        [Work(path, seed, out / f"{path.stem}_completed.png") for path in images],
        _paths(style, mask),
    )
    translator = load(model)
    domain = source_domain(translator, source, to)
    what = {"keep": keep, "mask": _name(mask), "draw": _settings(draw)}
    chain = _chain(domain, {"complete": what}, *_finish_steps(domain, to, style, paste))
    _finish(perform(translator, chain, works), as_json=as_json)


def generate(
    model: ModelArgument,
    domain: Annotated[str, typer.Option(help="Domain of the new images.")],
    out: OutOption,
    count: Annotated[int, typer.Option(min=1)] = 16,
    width: Annotated[
        int | None, typer.Option(min=1, help="Pixels (default: the model's size).")
    ] = None,
    height: Annotated[
        int | None, typer.Option(min=1, help="Pixels (default: the model's size).")
    ] = None,
    seed: SeedOption = 0,
    draw: DrawOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make new images from nothing; image i has the seed SEED + i.

    Example: vqi2i generate runs/demo/bundle --domain winter --count 16 --out results
    """
    works = plan(
        [
            Work(None, seed + index, out / f"{domain}_{seed + index:05d}.png")
            for index in range(count)
        ]
    )
    translator = load(model)
    what = {"domain": domain, "width": width, "height": height, "draw": _settings(draw)}
    _finish(perform(translator, _chain(None, {"generate": what}), works), as_json=as_json)


def transition(
    model: ModelArgument,
    image: ImageArgument,
    style: Annotated[
        list[Path], typer.Option(help="Images whose styles are met across the canvas; two or more.")
    ],
    out: OutOption,
    source: FromOption = None,
    to: Annotated[
        str | None, typer.Option(help="Domain of the styles (default: the image's own).")
    ] = None,
    direction: Annotated[
        Literal["horizontal", "vertical", "radial"], typer.Option()
    ] = "horizontal",
    as_json: JsonOption = False,
) -> None:
    """Show an image under a style that changes across the canvas.

    Example: vqi2i transition runs/demo/bundle photo.jpg --from summer --style noon.jpg --style
    dusk.jpg --out results
    """
    if len(style) < 2:
        raise UserError("a transition needs at least two --style images")
    works = plan([Work(image, 0, out / f"{image.stem}_transition.png")], style)
    translator = load(model)
    domain = source_domain(translator, source, to)
    what = {"to": to or domain, "styles": [str(path) for path in style], "direction": direction}
    _finish(perform(translator, _chain(domain, {"transition": what}), works), as_json=as_json)


def compose(
    model: ModelArgument,
    out: OutOption,
    steps: Annotated[
        Path, typer.Option(help="YAML file with the chain; pictures it names lie beside it.")
    ],
    images: Annotated[
        list[Path] | None,
        typer.Argument(help="Image files; none for a chain that begins with generate."),
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Do any chain of steps with one decode at the end.

    Example: vqi2i compose runs/demo/bundle photo.jpg --steps steps.yaml --out results
    """
    import yaml

    from vqi2i.editing.chain import read_chain

    try:
        chain = read_chain(yaml.safe_load(steps.read_bytes()))
    except UserError as error:
        raise UserError(f"{steps}: {error}") from error
    except (
        yaml.YAMLError,
        ValueError,
        RecursionError,
    ) as error:  # a ValueError tells of dates that there are not
        raise UserError(
            f"{steps} is not YAML that can be read: {' '.join(str(error).split())}"
        ) from error
    pictures: list[Path | None] = [*images] if images else [None]
    works = [Work(path, seed, out / f"{(path or steps).stem}_composed.png") for path in pictures]
    plan(works, picture_paths(chain, steps.parent).values())
    _finish(perform(load(model), chain, works, beside=steps.parent), as_json=as_json)


def _chain(source: str | None, *steps: dict[str, Any]) -> "Chain":
    from vqi2i.editing.chain import read_chain

    return read_chain({"from": source, "steps": list(steps)})


def _finish_steps(
    domain: str, to: str | None, style: Path | None, paste: int | None
) -> list[dict[str, Any]]:
    from vqi2i.editing.chain import finishing

    return finishing(domain, to or domain, style=_name(style), paste=paste)


def _paths(*paths: Path | None) -> list[Path]:
    return [path for path in paths if path is not None]


def _name(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _settings(draw: list[str] | None) -> dict[str, Any]:
    """NAME=VALUE pairs of --draw; the step that takes them knows which there are."""
    from vqi2i.config import assignment

    return dict(assignment(pair, "--draw") for pair in draw or [])


def load(model: str) -> "Translator":
    """The translator of a bundle directory or an MLflow URI, on a GPU if there is one."""
    import torch

    from serving.registry import resolve
    from vqi2i import Translator

    return Translator.load(resolve(model), "cuda" if torch.cuda.is_available() else "cpu")


def source_domain(translator: "Translator", source: str | None, target: str | None) -> str:
    """The domain an image is taken from: as given, or the other one of two.

    Raises:
        UserError: it cannot be told, or the model does not know a domain.
    """
    for domain in (source, target):
        if domain is not None:
            translator.check_domain(domain)
    if source is not None:
        return source
    others = [domain for domain in translator.domains if domain != target]
    if target is not None and len(others) == 1:
        return others[0]
    raise UserError(
        f"say with --from which domain the images are of: {', '.join(translator.domains)}"
    )


def _finish(written: Sequence[Path], *, as_json: bool) -> None:
    conclude({"written": list(written)}, as_json=as_json, sentence="\n".join(map(str, written)))

"""vqi2i translate, extend, complete, generate, transition: what a trained model does with images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from commands.console import JsonOption, conclude

if TYPE_CHECKING:
    from torch import Tensor

    from vqi2i.translator import Translator

ModelArgument = Annotated[str, typer.Argument(help="A bundle directory or an MLflow URI (models:/name@alias).")]
ImagesArgument = Annotated[list[Path], typer.Argument(help="Image files of any size.")]
ImageArgument = Annotated[Path, typer.Argument(help="An image file of any size.")]
OutOption = Annotated[Path, typer.Option(help="Folder for the results.")]
FromOption = Annotated[str | None, typer.Option("--from", help="The images' domain; may be left out with two domains.")]
ToOption = Annotated[str | None, typer.Option(help="Show the result in this domain (default: the image's own).")]
SeedOption = Annotated[int, typer.Option(help="The same seed gives the same pixels.")]
TemperatureOption = Annotated[float, typer.Option(help="Below 1 more ordinary, above 1 more daring.")]

_KEPT = {
    "left": (slice(None), slice(None, 2)),  # in quarters of the sides
    "right": (slice(None), slice(2, None)),
    "top": (slice(None, 2), slice(None)),
    "bottom": (slice(2, None), slice(None)),
    "top-left": (slice(None, 2), slice(None, 2)),
}
Keep = Literal["left", "right", "top", "bottom", "top-left"]


def translate(
    model: ModelArgument,
    images: ImagesArgument,
    to: Annotated[str, typer.Option(help="The domain to translate to; the images' own restyles them.")],
    out: OutOption,
    source: FromOption = None,
    style: Annotated[Path | None, typer.Option(help="Image of the target domain whose style is taken.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Sampled styles per image, if no --style is given.")] = 1,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Translate images to a domain, in an example's style or in sampled styles.

    Example: vqi2i translate runs/demo/bundle photo.jpg --to winter --style snow.jpg --out results
    """
    translator = load(model)
    source = source_domain(translator, source, to)
    exemplar = translator.encode(load_image(style), to).style if style is not None else None
    written = []
    for path in images:
        image = load_image(path)
        for sample in range(1 if exemplar is not None else samples):
            shown = translator.translate(image, source=source, target=to, style=exemplar, seed=seed + sample)
            suffix = f"_{to}" if exemplar is not None or samples == 1 else f"_{to}_{sample}"
            written.append(save(shown, out / f"{path.stem}{suffix}.png"))
    _finish(written, as_json=as_json)


def extend(
    model: ModelArgument,
    images: ImagesArgument,
    out: OutOption,
    left: Annotated[int, typer.Option(min=0, help="Pixels to add on the left.")] = 0,
    right: Annotated[int, typer.Option(min=0, help="Pixels to add on the right.")] = 0,
    source: FromOption = None,
    to: ToOption = None,
    seed: SeedOption = 0,
    temperature: TemperatureOption = 1.0,
    as_json: JsonOption = False,
) -> None:
    """Continue images past their left and right borders.

    Example: vqi2i extend runs/demo/bundle photo.jpg --from summer --left 32 --right 64 --out results
    """
    from vqi2i import Sampling

    translator = load(model)
    domain = source_domain(translator, source, to)
    written = []
    for path in images:
        wide = translator.extend(
            load_image(path), domain=domain, left=left, right=right, target=to, seed=seed,
            sampling=Sampling(temperature=temperature),
        )  # fmt: skip
        written.append(save(wide, out / f"{path.stem}_extended.png"))
    _finish(written, as_json=as_json)


def complete(
    model: ModelArgument,
    images: ImagesArgument,
    out: OutOption,
    keep: Annotated[Keep | None, typer.Option(help="The part that stays.")] = None,
    mask: Annotated[Path | None, typer.Option(help="Image of the same size: white stays, black is imagined.")] = None,
    source: FromOption = None,
    to: ToOption = None,
    seed: SeedOption = 0,
    temperature: TemperatureOption = 1.0,
    as_json: JsonOption = False,
) -> None:
    """Imagine the missing part of images.

    Example: vqi2i complete runs/demo/bundle photo.jpg --from summer --keep left --out results
    """
    from vqi2i import Sampling

    if (keep is None) == (mask is None):
        raise ValueError("say what stays: either --keep or --mask")
    translator = load(model)
    domain = source_domain(translator, source, to)
    written = []
    for path in images:
        image = load_image(path)
        kept = _keep_mask(image, keep) if keep is not None else _mask_file(mask)
        whole = translator.complete(
            image, mask=kept, domain=domain, target=to, seed=seed, sampling=Sampling(temperature=temperature)
        )
        written.append(save(whole, out / f"{path.stem}_completed.png"))
    _finish(written, as_json=as_json)


def generate(
    model: ModelArgument,
    domain: Annotated[str, typer.Option(help="Domain of the new images.")],
    out: OutOption,
    count: Annotated[int, typer.Option(min=1)] = 16,
    width: Annotated[int | None, typer.Option(min=1, help="Pixels (default: the model's size).")] = None,
    height: Annotated[int | None, typer.Option(min=1, help="Pixels (default: the model's size).")] = None,
    seed: SeedOption = 0,
    temperature: TemperatureOption = 1.0,
    as_json: JsonOption = False,
) -> None:
    """Make new images from nothing; image i has the seed SEED + i.

    Example: vqi2i generate runs/demo/bundle --domain winter --count 16 --out results
    """
    from vqi2i import Sampling

    translator = load(model)
    images = translator.generate(
        count, domain=domain, height=height, width=width, seed=seed, sampling=Sampling(temperature=temperature)
    )
    written = [save(image[None], out / f"{domain}_{seed + index:05d}.png") for index, image in enumerate(images)]
    _finish(written, as_json=as_json)


def transition(
    model: ModelArgument,
    image: ImageArgument,
    style: Annotated[list[Path], typer.Option(help="Images whose styles are met across the canvas; two or more.")],
    out: OutOption,
    source: FromOption = None,
    to: Annotated[str | None, typer.Option(help="Domain of the styles (default: the image's own).")] = None,
    direction: Annotated[Literal["horizontal", "vertical"], typer.Option()] = "horizontal",
    as_json: JsonOption = False,
) -> None:
    """Show an image under a style that changes across the canvas.

    Example: vqi2i transition runs/demo/bundle photo.jpg --from summer --style noon.jpg --style dusk.jpg --out results
    """
    import torch

    translator = load(model)
    domain = source_domain(translator, source, to)
    target = to or domain
    styles = torch.cat([translator.encode(load_image(path), target).style for path in style])
    blended = translator.transition(load_image(image), domain=domain, styles=styles, target=target, direction=direction)
    _finish([save(blended, out / f"{image.stem}_transition.png")], as_json=as_json)


def load(model: str) -> "Translator":
    """The translator of a bundle directory or an MLflow URI, on a GPU if there is one."""
    import torch

    from serving.registry import resolve
    from vqi2i import Translator

    return Translator.load(resolve(model), "cuda" if torch.cuda.is_available() else "cpu")


def load_image(path: Path) -> "Tensor":
    """An image file as a tensor (1, 3, h, w) in [-1, 1]."""
    import imaging

    return imaging.to_tensor([imaging.read(path)])


def save(images: "Tensor", path: Path) -> Path:
    """Write the only image of a batch."""
    import imaging

    imaging.write(path, imaging.to_pixels(images)[0])
    return path


def source_domain(translator: "Translator", source: str | None, target: str | None) -> str:
    """The domain an image is taken from: as given, or the other one of two.

    Raises:
        ValueError: it cannot be told.
    """
    if source is not None:
        return source
    others = [domain for domain in translator.domains if domain != target]
    if target in translator.domains and len(others) == 1:
        return others[0]
    raise ValueError(f"say with --from which domain the images are of: {', '.join(translator.domains)}")


def _keep_mask(image: "Tensor", keep: str) -> "Tensor":
    import torch

    height, width = image.shape[2:]
    mask = torch.zeros(height, width, dtype=torch.bool)
    rows, columns = (slice(*(mark and mark * side // 4 for mark in (part.start, part.stop)))
                     for part, side in zip(_KEPT[keep], (height, width), strict=True))  # fmt: skip
    mask[rows, columns] = True
    return mask


def _mask_file(path: Path | None) -> "Tensor":
    import torch

    import imaging

    assert path is not None
    return torch.from_numpy(imaging.read(path).mean(2) > 127)


def _finish(written: Sequence[Path], *, as_json: bool) -> None:
    conclude({"written": list(written)}, as_json=as_json, sentence="\n".join(map(str, written)))

"""vqi2i data: make, shard, look at, verify and copy images."""

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands.console import JsonOption, conclude, console, progress, replacing, seed_given, stages
from commands.verbs import Verbs
from errors import UserError

if TYPE_CHECKING:
    from imaging.codec import Pixels

VALIDATION = 0.1  # share of the images where nobody says otherwise
app = Verbs(no_args_is_help=True, help="Make, shard, look at, verify and copy image data.")


@app.command()
def synthesize(
    out: Annotated[Path, typer.Argument(help="Folder to write into.")],
    pairs: Annotated[int, typer.Option(min=1, help="Training images of each season.")] = 400,
    size: Annotated[int, typer.Option(min=16, help="Side in pixels.")] = 64,
    tests: Annotated[int, typer.Option(min=1, help="Paired test triples of each direction.")] = 64,
    wide: Annotated[int, typer.Option(min=0, help="Wide test canvases of each season.")] = 16,
    seed: Annotated[
        int, typer.Option(help="The same seed paints the same landscapes.", callback=seed_given)
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Paint two-season landscapes whose content and style are known.

    Example: vqi2i data synthesize seasons --pairs 400 --size 64
    """
    from pipelines.synthetic.dataset import synthesize as paint

    with progress("painting") as tell:
        summary = paint(
            out, pairs=pairs, size=size, tests=tests, wide=wide, seed=seed, progress=tell
        )
    conclude(summary.model_dump(), as_json=as_json, sentence=f"{summary.images} images in {out}")


@app.command()
def shard(
    out: Annotated[Path, typer.Option(help="Folder for the shards.")],
    domain: Annotated[
        list[str] | None, typer.Option(help="NAME=FOLDER of one domain's images; repeat it.")
    ] = None,
    split_halves: Annotated[
        str | None,
        typer.Option(
            metavar="LEFT,RIGHT=FOLDER",
            help="Side-by-side images: their halves are two paired domains.",
        ),
    ] = None,
    size: Annotated[
        int,
        typer.Option(help="Short side of the stored images in pixels; recipes of 256 px need 256."),
    ] = 64,
    test: Annotated[float, typer.Option(help="Share of images held out to report on.")] = 0.1,
    validation: Annotated[
        float | None,
        typer.Option(
            help=(
                "Share held out to choose weights and settings by (default 0.1; a data set keeps "
                "its own)."
            )
        ),
    ] = None,
    paired: Annotated[
        bool, typer.Option("--paired", help="Images of the same name show the same thing.")
    ] = False,
    labels: Annotated[
        list[str] | None, typer.Option(help="A domain whose images are label maps; repeat it.")
    ] = None,
    background: Annotated[
        str,
        typer.Option(
            help="Colour under transparent pixels: a name such as white, or a code such as #ffffff."
        ),
    ] = "#ffffff",
    min_side: Annotated[
        int, typer.Option(help="Leave out images with a shorter side than this.")
    ] = 16,
    max_aspect: Annotated[
        float, typer.Option(help="Leave out images that are longer than this many to 1.")
    ] = 8,
    shard_samples: Annotated[int, typer.Option(help="Images in a shard.")] = 2048,
    max_reject_fraction: Annotated[
        float, typer.Option(help="Fail if a larger share cannot be used.")
    ] = 0.1,
    workers: Annotated[
        int,
        typer.Option(
            min=0, help="Ray tasks at once, on machines that all see the folders; 0: this process."
        ),
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Turn folders of images into WebDataset shards with a manifest and an index.

    Every file is looked at: what cannot be used is listed in OUT/rejects.parquet with the reason.
    The same command again continues an interrupted build, to the same bytes.

    Example: vqi2i data shard --domain summer=photos/summer --domain winter=photos/winter --out
    shards --size 64

    Example: vqi2i data shard --split-halves photo,label=facades --labels label --out shards
    """
    from pipelines.building.output_folder import held_options
    from pipelines.images_to_shards import build_shards

    if (split_halves is None) == (not domain):
        raise UserError(
            "give either --domain NAME=FOLDER for each domain, or --split-halves LEFT,RIGHT=FOLDER"
        )
    folders = parse_halves(split_halves) if split_halves else parse_domains(domain or [])
    if validation is None:  # what was built before there was validation is as it was
        validation = (
            held.validation_fraction if (held := held_options(out)) is not None else VALIDATION
        )
    with stages("reading files", "building shards") as (reading, tell):
        report = build_shards(
            folders,
            out=out,
            workers=workers,
            reading=reading,
            progress=tell,
            max_reject_fraction=max_reject_fraction,
            size=size,
            test_fraction=test,
            validation_fraction=validation,
            shard_samples=shard_samples,
            paired=paired,
            split_halves=split_halves is not None,
            labels=labels or [],
            background=background,
            min_side=min_side,
            max_aspect=max_aspect,
        )
    manifest = report.manifest
    counts = {
        f"{split}/{d}": manifest.count(split, d)
        for split in manifest.options.splits
        for d in manifest.domains
    }
    result = {
        "out": out,
        "fingerprint": manifest.fingerprint,
        "images": counts,
        "rejects": manifest.rejects,
    }
    held = (
        ", ".join(f"{count} {name}" for name, count in counts.items()) + f" of {manifest.size} px"
    )
    rejected = (
        f"; not used: {_counts(manifest.rejects)}, see rejects.parquet" if manifest.rejects else ""
    )
    conclude(result, as_json=as_json, sentence=f"{out}: {held}{rejected}")


@app.command()
def inspect(
    data: Annotated[Path, typer.Argument(help="Folder of shards.")],
    sheet: Annotated[
        Path | None, typer.Option(help="Write a contact sheet here (default: inside DATA).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print what shards hold, and write a contact sheet.

    Example: vqi2i data inspect shards
    """
    from rich.table import Table

    from pipelines.describe import contact_sheet, describe
    from pipelines.schema import Manifest

    manifest = Manifest.load(data)
    rows = describe(manifest)
    place = sheet or data / "contact_sheet.png"
    with replacing([sheet] if sheet else []):
        denied = _write(place, contact_sheet(data, manifest), needed=sheet is not None)
    table = Table("split", "domain", "images", "shards", "MB")
    for row in rows:
        table.add_row(
            row.split, row.domain, str(row.images), str(row.shards), f"{row.bytes / 1e6:.2f}"
        )
    console.print(table)
    pixels = Table("domain", "mean RGB", "std RGB", "sources by short side", "what was done")
    for name, found in manifest.statistics.items():
        mean, std = (
            " ".join(f"{value:.0f}" for value in values) for values in (found.mean, found.std)
        )
        sides = {f"{low}-{2 * low - 1} px": count for low, count in found.short_sides.items()}
        pixels.add_row(name, mean, std, _counts(sides), _counts(found.changes))
    console.print(pixels)
    console.print(f"not used: {_counts(manifest.rejects) or 'nothing'}")
    options = manifest.options.model_dump(exclude_defaults=True)
    console.print(f"options: {', '.join(f'{name} {value}' for name, value in options.items())}")
    console.print(
        f"versions: {', '.join(f'{name} {value}' for name, value in manifest.versions.items())}"
    )
    result = {
        "fingerprint": manifest.fingerprint,
        "rows": [row._asdict() for row in rows],
        "rejects": manifest.rejects,
        "statistics": {name: found.model_dump() for name, found in manifest.statistics.items()},
        "sheet": None if denied else place,
    }
    conclude(result, as_json=as_json, sentence=denied or f"contact sheet: {place}")


def _write(sheet: Path, pixels: "Pixels", *, needed: bool) -> str:
    """Write a contact sheet; a sentence if that is not possible where nobody asked for it: data may
    be read-only.
    """
    import imaging

    try:
        imaging.write(sheet, pixels)
    except OSError as error:
        if needed or error.errno not in (errno.EROFS, errno.EACCES):
            raise
        return (
            f"no contact sheet: {sheet} cannot be written ({error.strerror}), name another place "
            "with --sheet"
        )
    return ""


@app.command()
def verify(
    data: Annotated[Path, typer.Argument(help="Folder of shards.")], as_json: JsonOption = False
) -> None:
    """Read every byte of a data set again and compare it with what was written; exit code 2 names
    what is damaged.

    Example: vqi2i data verify shards
    """
    from pipelines.schema import Manifest
    from pipelines.verify import verify as check

    with progress("verifying") as tell:
        damages = check(data, tell)
    if damages:
        for damage in damages[1:]:
            console.print(str(damage), markup=False)
        more = f", and {len(damages) - 1} more damages, listed above" if len(damages) > 1 else ""
        raise UserError(
            f"{data} is damaged: {damages[0]}{more}; restore these files from a copy, or delete "
            "them and run `vqi2i data shard` again"
        )
    manifest = Manifest.load(data)
    shards = list(manifest.shards())
    result = {
        "fingerprint": manifest.fingerprint,
        "images": sum(shard.samples for shard in shards),
        "shards": len(shards),
        "bytes": sum(shard.bytes + shard.index_bytes for shard in shards),
    }
    sentence = (
        f"{data}: {result['images']} images in {result['shards']} shards are as they were written"
    )
    conclude(result, as_json=as_json, sentence=sentence)


@app.command()
def copy(
    source: Annotated[
        str, typer.Argument(help="Shards: a folder, or an address at s3://, gs:// or http(s)://.")
    ],
    target: Annotated[str, typer.Argument(help="A folder, or an address at s3:// or gs://.")],
    as_json: JsonOption = False,
) -> None:
    """Copy a data set to a bucket, or from it; the same command again continues.

    Example: vqi2i data copy shards s3://bucket/shards
    """
    from pipelines.copying import copy_data

    with progress("copying") as tell:
        manifest = copy_data(source, target, tell)
    images = sum(shard.samples for shard in manifest.shards())
    result = {"target": target, "fingerprint": manifest.fingerprint, "images": images}
    conclude(result, as_json=as_json, sentence=f"{target}: {images} images")


def parse_halves(setting: str) -> dict[str, Path]:
    """A LEFT,RIGHT=FOLDER setting as a mapping of two domains to one folder.

    Raises:
        UserError: it has another form.
    """
    names, _, folder = setting.partition("=")
    left, _, right = names.partition(",")
    if not (left and right and folder) or left == right:
        raise UserError(f"--split-halves {setting!r} is not of the form LEFT,RIGHT=FOLDER")
    return {left: Path(folder), right: Path(folder)}


def _counts(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in numbers.items())


def parse_domains(settings: list[str]) -> dict[str, Path]:
    """NAME=FOLDER settings as a mapping.

    Raises:
        UserError: a setting has another form, a name comes twice, or there is only one domain.
    """
    folders: dict[str, Path] = {}
    for setting in settings:
        name, separator, folder = setting.partition("=")
        if not separator or not folder:
            raise UserError(f"--domain {setting!r} is not of the form NAME=FOLDER")
        if name in folders:
            raise UserError(f"--domain {name} is given twice: put its images into one folder")
        folders[name] = Path(folder)
    if len(folders) < 2:
        raise UserError("translation needs two domains or more: give --domain NAME=FOLDER for each")
    return folders

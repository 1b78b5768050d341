"""vqi2i data: make, shard and look at images."""

from pathlib import Path
from typing import Annotated

import typer

from commands.console import JsonOption, conclude, console, progress

app = typer.Typer(no_args_is_help=True, help="Make, shard and look at image data.")


@app.command()
def synthesize(
    out: Annotated[Path, typer.Argument(help="Folder to write into.")],
    pairs: Annotated[int, typer.Option(min=1, help="Training images of each season.")] = 400,
    size: Annotated[int, typer.Option(min=16, help="Side in pixels.")] = 64,
    tests: Annotated[int, typer.Option(min=1, help="Paired test triples of each direction.")] = 64,
    wide: Annotated[int, typer.Option(min=0, help="Wide test canvases of each season.")] = 16,
    seed: int = 0,
    as_json: JsonOption = False,
) -> None:
    """Paint two-season landscapes whose content and style are known.

    Example: vqi2i data synthesize seasons --pairs 400 --size 64
    """
    from pipelines.synthetic import synthesize as paint

    with progress("painting") as tell:
        summary = paint(out, pairs=pairs, size=size, tests=tests, wide=wide, seed=seed, progress=tell)
    conclude(summary.model_dump(), as_json=as_json, sentence=f"{summary.images} images in {out}")


@app.command()
def shard(
    domain: Annotated[list[str], typer.Option(help="NAME=FOLDER of one domain's images; give it twice or more.")],
    out: Annotated[Path, typer.Option(help="Folder for the shards.")],
    size: Annotated[int, typer.Option(help="Short side of the stored images in pixels.")] = 256,
    test: Annotated[float, typer.Option(help="Share of images held out for testing.")] = 0.1,
    paired: Annotated[bool, typer.Option("--paired", help="Images of the same name show the same thing.")] = False,
    labels: Annotated[list[str] | None, typer.Option(help="A domain whose images are label maps.")] = None,
    max_reject_fraction: Annotated[float, typer.Option(help="Fail if a larger share cannot be used.")] = 0.1,
    workers: Annotated[int, typer.Option(min=0, help="Ray tasks at once; 0 builds in this process.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Turn folders of images into WebDataset shards with a manifest and an index.

    Example: vqi2i data shard --domain summer=photos/summer --domain winter=photos/winter --out shards --size 64
    """
    from pipelines.images_to_shards import build_shards

    folders = parse_domains(domain)
    with progress("building shards") as tell:
        report = build_shards(
            folders, out=out, size=size, test_fraction=test, local=workers == 0, progress=tell,
            max_reject_fraction=max_reject_fraction, paired=paired, labels=labels or [],
        )  # fmt: skip
    manifest = report.manifest
    counts = {f"{split}/{d}": manifest.count(split, d) for split in ("train", "test") for d in manifest.domains}
    result = {"out": out, "fingerprint": manifest.fingerprint, "images": counts, "rejects": manifest.rejects}
    held = ", ".join(f"{count} {name}" for name, count in counts.items())
    rejected = f"; not used: {dict(manifest.rejects)}, see rejects.parquet" if manifest.rejects else ""
    conclude(result, as_json=as_json, sentence=f"{out}: {held}{rejected}")


@app.command()
def inspect(
    data: Annotated[Path, typer.Argument(help="Folder of shards.")],
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet here (default: inside DATA).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print what shards hold, and write a contact sheet.

    Example: vqi2i data inspect shards
    """
    from rich.table import Table

    import imaging
    from pipelines.images_to_shards import contact_sheet, describe
    from pipelines.schema import Manifest

    manifest = Manifest.load(data)
    rows = describe(manifest)
    sheet = sheet or data / "contact_sheet.png"
    imaging.write(sheet, contact_sheet(data, manifest))
    table = Table("split", "domain", "images", "shards", "MB")
    for row in rows:
        table.add_row(row.split, row.domain, str(row.images), str(row.shards), f"{row.bytes / 1e6:.2f}")
    console.print(table)
    result = {"fingerprint": manifest.fingerprint, "rows": [row._asdict() for row in rows], "sheet": sheet}
    conclude(result, as_json=as_json, sentence=f"contact sheet: {sheet}")


def parse_domains(settings: list[str]) -> dict[str, Path]:
    """NAME=FOLDER settings as a mapping.

    Raises:
        ValueError: a setting has another form, a name comes twice, or there is only one domain.
    """
    folders: dict[str, Path] = {}
    for setting in settings:
        name, separator, folder = setting.partition("=")
        if not separator or not folder:
            raise ValueError(f"--domain {setting!r} is not of the form NAME=FOLDER")
        if name in folders:
            raise ValueError(f"--domain {name} is given twice: put its images into one folder")
        folders[name] = Path(folder)
    if len(folders) < 2:
        raise ValueError("translation needs two domains or more: give --domain NAME=FOLDER for each")
    return folders

"""Pixels to the answer that a client asked for."""

import base64
from collections.abc import Sequence

from fastapi import Response

import imaging
from imaging.codec import Pixels
from serving.problems import Problem
from serving.schema import EncodedImage, ImageFormat, ImageList, OutputFormat

_FORMATS: dict[str, OutputFormat] = {
    "*/*": "png",
    "image/*": "png",
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/webp": "webp",
    "application/json": "json",
    "application/*": "json",
}


def negotiate(accept: str) -> OutputFormat:
    """The format that an Accept header likes best; PNG if it is empty.

    Raises:
        Problem: 406 if it accepts nothing that can be made.
    """
    choices: list[tuple[float, OutputFormat]] = []
    for entry in filter(None, (part.strip() for part in accept.split(","))):
        media_type, *parameters = (part.strip().lower() for part in entry.split(";"))
        quality = _quality(parameters)
        if media_type in _FORMATS and quality > 0:
            choices.append((quality, _FORMATS[media_type]))
    if not accept.strip():
        return "png"
    if not choices:
        raise Problem(406, "ask for image/png, image/jpeg, image/webp or application/json in the Accept header")
    return max(choices, key=lambda choice: choice[0])[1]


def _quality(parameters: Sequence[str]) -> float:
    values = [parameter.removeprefix("q=") for parameter in parameters if parameter.startswith("q=")]
    try:
        return float(values[0]) if values else 1.0
    except ValueError:
        return 0.0


def answer(pictures: Sequence[Pixels], *, model: str, seed: int, wanted: OutputFormat) -> Response:
    """One picture as an image file; several, or one if `wanted` is json, as JSON with base64 files."""
    image_format: ImageFormat = "png" if wanted == "json" else wanted
    media_type = f"image/{image_format}"
    files = [imaging.encode(picture, image_format) for picture in pictures]
    headers = {"X-Model": model, "X-Seed": str(seed), "Vary": "Accept"}
    if len(files) == 1 and wanted != "json":
        return Response(files[0], headers=headers, media_type=media_type)
    images = tuple(
        EncodedImage(
            seed=seed + index,
            width=picture.shape[1],
            height=picture.shape[0],
            media_type=media_type,
            data=base64.b64encode(file).decode(),
        )
        for index, (picture, file) in enumerate(zip(pictures, files, strict=True))
    )
    body = ImageList(model=model, seed=seed, images=images)
    return Response(body.model_dump_json(), headers=headers, media_type="application/json")

"""Pixels to the answer that a client asked for."""

import base64
from collections.abc import Container, Sequence

from fastapi import Response

import imaging
from imaging.codec import Pixels
from serving.http.problems import Problem
from serving.http.schema import EncodedImage, ImageFormat, ImageList, OutputFormat

_MEDIA: dict[str, OutputFormat] = {  # in the order in which they are preferred
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/webp": "webp",
    "application/json": "json",
}
_ALSO = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "*": "*/*",
}  # as sent


def negotiate(accept: str) -> OutputFormat:
    """The format that an Accept header likes best, of several the one it names first; PNG if it is
    empty.

    Raises:
        Problem: 406 if it accepts nothing that can be made.
    """
    if not accept.strip():
        return "png"
    liked: dict[str, float] = {}
    for entry in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in entry.split(";"))
        liked.setdefault(_ALSO.get(media_type, media_type), _quality(parameters))
    ranked = [
        (liked[pattern], -list(liked).index(pattern), -place)
        for place, media_type in enumerate(_MEDIA)
        if (pattern := _closest(media_type, liked)) is not None and liked[pattern] > 0
    ]
    if not ranked:
        raise Problem(
            406,
            "ask for image/png, image/jpeg, image/webp or application/json in the Accept header",
        )
    return list(_MEDIA.values())[-max(ranked)[2]]


def _closest(media_type: str, liked: Container[str]) -> str | None:
    """What an Accept header says of a type: the type itself goes before `image/*`, and that before
    `*/*`.
    """
    patterns = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
    return next((pattern for pattern in patterns if pattern in liked), None)


def _quality(parameters: Sequence[str]) -> float:
    values = [
        parameter.removeprefix("q=") for parameter in parameters if parameter.startswith("q=")
    ]
    try:
        return float(values[0]) if values else 1.0
    except ValueError:
        return 0.0


def answer(pictures: Sequence[Pixels], *, model: str, seed: int, wanted: OutputFormat) -> Response:
    """One picture as an image file; several, or one if `wanted` is json, as JSON with base64
    files.
    """
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

"""What goes over the wire: options of requests, limits on them, answers, descriptions of models."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from errors import UserError
from vqi2i.bundle import fingerprint, read_config
from vqi2i.editing.steps import LONGEST_SIDE, WIDEST_FEATHER, Keep
from vqi2i.editing.style_blending import Direction

ImageFormat = Literal["png", "jpeg", "webp"]
OutputFormat = Literal["png", "jpeg", "webp", "json"]

Name = Annotated[str, Field(max_length=200)]
Draw = Annotated[str, Field(max_length=1000)]

WITHOUT_PRIOR = ("translate", "transition", "compose")
WITH_PRIOR = ("extend", "complete", "generate")


class Strict(BaseModel):
    """A frozen schema in which an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Options(Strict):
    """What every route takes."""

    model: Name | None = Field(
        default=None, description="name of a served model; may be omitted when only one is served"
    )
    # Below 2**53, so that JavaScript clients can repeat a seed they were told.
    seed: int | None = Field(
        default=None,
        ge=0,
        lt=2**53,
        description="same seed, same pixels; drawn and returned if omitted",
    )
    format: OutputFormat | None = Field(
        default=None, description="form of the answer; the Accept header decides if omitted"
    )


class TranslateOptions(Options):
    """Options of `POST /v1/translate`."""

    to: Name = Field(description="domain to show the image in")
    source: Name | None = Field(
        default=None, description="the image's domain; the other one if omitted and there are two"
    )
    samples: int = Field(
        default=1,
        ge=1,
        le=16,
        description="pictures with different sampled styles, of seeds seed, seed + 1, ...",
    )


class _Shown(Options):
    domain: Name | None = Field(
        default=None,
        description="the image's domain; the other than `to` if omitted and there are two",
    )
    to: Name | None = Field(
        default=None, description="domain to show the result in; the image's own if omitted"
    )


class _Imagining(_Shown):
    paste: int | None = Field(
        default=None,
        ge=0,
        le=WIDEST_FEATHER,
        description="put the given pixels back, with a soft border of so many pixels",
    )
    draw: Draw | None = Field(
        default=None,
        description=(
            "settings of sampling, for example temperature=0.9,top_k=5; a wrong name lists them"
        ),
    )


class ExtendOptions(_Imagining):
    """Options of `POST /v1/extend`."""

    left: int = Field(default=0, ge=0, le=LONGEST_SIDE, description="pixels to add on the left")
    right: int = Field(default=0, ge=0, le=LONGEST_SIDE, description="pixels to add on the right")
    top: int = Field(default=0, ge=0, le=LONGEST_SIDE, description="pixels to add above")
    bottom: int = Field(default=0, ge=0, le=LONGEST_SIDE, description="pixels to add below")

    @model_validator(mode="after")
    def _something_to_add(self) -> Self:
        if self.left + self.right + self.top + self.bottom == 0:
            raise UserError(
                "say how many pixels to add: left, right, top or bottom must be above 0"
            )
        return self


class CompleteOptions(_Imagining):
    """Options of `POST /v1/complete`."""

    keep: Keep | None = Field(default=None, description="the part that stays, if no mask is sent")


class GenerateOptions(Options):
    """Options of `POST /v1/generate`."""

    domain: Name = Field(description="domain of the new pictures")
    width: int | None = Field(
        default=None, gt=0, le=LONGEST_SIDE, description="pixels; the model's size if omitted"
    )
    height: int | None = Field(
        default=None, gt=0, le=LONGEST_SIDE, description="pixels; the model's size if omitted"
    )
    count: int = Field(default=1, ge=1, le=16, description="pictures, of seeds seed, seed + 1, ...")
    draw: Draw | None = Field(default=None, description="settings of sampling, as for /v1/extend")


class TransitionOptions(_Shown):
    """Options of `POST /v1/transition`."""

    direction: Direction = Field(
        default="horizontal", description="from left, from the top, or from the middle"
    )


class ComposeOptions(Options):
    """Options of `POST /v1/compose`."""

    steps: str = Field(
        max_length=100_000,
        description=(
            'the steps as JSON, for example [{"extend": {"right": 64}}, {"translate": {"to": '
            '"winter"}}]; '
            "examples and masks are named by the files sent as `pictures`"
        ),
    )
    domain: Name | None = Field(
        default=None, description="the image's domain; omitted if the first step generates"
    )


class Limits(Strict):
    """The largest request that is accepted."""

    max_upload_bytes: int = Field(default=20 * 2**20, gt=0, description="whole request body")
    max_files: int = Field(default=16, gt=0, description="images in one request")
    max_side: int = Field(default=2048, gt=0, description="pixels, of every image sent")
    max_pixels: int = Field(default=4_000_000, gt=0, description="of every image sent")
    max_sent_pixels: int = Field(
        default=8_000_000, gt=0, description="of all images of a request together"
    )
    max_made_pixels: int = Field(
        default=8_000_000, gt=0, description="of all pictures of an answer together"
    )
    max_steps: int = Field(default=16, gt=0, description="of a chain")
    max_extension: int = Field(
        default=1024, gt=0, description="pixels added along either side of an image"
    )
    max_new_pixels: int = Field(
        default=512 * 512,
        gt=0,
        description="area to imagine: each token of it is a step of the prior",
    )
    max_seconds: float = Field(
        default=120,
        gt=0,
        description="that a request may compute: then it is stopped, and its client told",
    )
    large_pixels: int = Field(
        default=2**18,
        gt=0,
        description="a request of larger pictures, or of as much work, runs beside the others",
    )
    large_at_once: int = Field(
        default=2, gt=0, description="such requests worked on at a time, per model; others wait"
    )
    large_waiting: int = Field(
        default=32, ge=0, description="such requests that may wait; more are refused with 503"
    )


class ModelInfo(Strict):
    """One served model."""

    name: str
    domains: tuple[str, ...]
    resolution: int = Field(description="nominal image side in pixels; other sizes work too")
    stride: int = Field(description="image pixels per token along each side")
    can: tuple[str, ...] = Field(
        description="routes that work: those that imagine only if the model has a prior"
    )
    fingerprint: str = Field(description="sha256 over configuration and weights")
    provenance: dict[str, Any]


class ModelList(Strict):
    """Answer of `GET /v1/models`."""

    models: tuple[ModelInfo, ...]


class EncodedImage(Strict):
    """One picture inside a JSON answer."""

    seed: int
    width: int
    height: int
    media_type: str
    data: str = Field(description="the encoded file, in base64")


class ImageList(Strict):
    """Answer with several pictures, or with one if JSON was asked for."""

    model: str
    seed: int
    images: tuple[EncodedImage, ...]


class ProblemDetails(BaseModel):
    """Why a request failed (RFC 9457); `detail` says in one sentence what to do."""

    model_config = ConfigDict(frozen=True)

    type: str = "about:blank"
    title: str
    status: int
    detail: str


def describe(name: str, path: Path) -> ModelInfo:
    """Describe the bundle at `path` under the name it is served by.

    Raises:
        BundleError: there is no valid bundle at `path`.
    """
    config = read_config(path)
    return ModelInfo(
        name=name,
        domains=config.network.domains,
        resolution=config.network.resolution,
        stride=config.network.stride,
        can=(*WITHOUT_PRIOR, *WITH_PRIOR) if config.prior is not None else WITHOUT_PRIOR,
        fingerprint=fingerprint(path),
        provenance=config.provenance,
    )

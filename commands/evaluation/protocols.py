"""The paper's tables as data: which variants are trained, and what is measured of them."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Literal, NamedTuple

from errors import UserError

HEADLINE = "headline"  # the measure that leads the evaluations: KID on the best network there is
SCALES = (64, 256)


class Place(NamedTuple):
    """A cell of the grid of codebooks."""

    quantizer: str
    codes: int
    dim: int


class Variant(NamedTuple):
    """One model of a protocol."""

    name: str  # of its run and of its evaluation
    recipe: str
    settings: tuple[str, ...] = ()  # that make it what it is; they come after a user's own
    stage: Literal["stage1", "baseline"] = "stage1"
    prior: str | None = None  # recipe of stage 2, where it has one
    against: str | None = None  # the variant that it is compared with; None: the first one
    place: Place | None = None


class Column(NamedTuple):
    """A figure that the table has."""

    task: str
    measure: str


class Protocol(NamedTuple):
    """A table of the paper, or one that the paper lacks."""

    name: str
    title: str
    shows: str  # what it asks, in a sentence
    variants: tuple[Variant, ...]
    columns: tuple[Column, ...]
    paired: bool = False  # whether shards must hold pairs
    published: tuple[str, ...] = ()  # what the paper observed

    @property
    def tasks(self) -> frozenset[str]:
        """Kinds of tasks that the columns need."""
        return frozenset(column.task for column in self.columns)


class Options(NamedTuple):
    """What a user can choose about a protocol."""

    scale: int = 64
    codes: Sequence[int] = (64, 256, 512)
    dims: Sequence[int] = (64, 512)
    prior: bool = False  # whether the grid's models get one


def _columns(task: str, *measures: str) -> tuple[Column, ...]:
    return tuple(Column(task, measure) for measure in measures)


_LOOKS = (HEADLINE, "kid_lite0_places", "kid_lite2", "structure", "domain_accuracy", "niqe")
_TEXTURE = ("sharpness", "specks")
_TRUTH = ("st_lpips", "psnr", "ssim", "edges")  # where the truth is known
_TRANSLATION = (
    *_columns("translation", *_LOOKS, *_TEXTURE, *_TRUTH),
    *_columns("diversity", "diversity"),
)
_REBUILT = _columns("reconstruction", HEADLINE, "psnr")


def _paper(options: Options) -> Variant:
    return Variant("paper", f"paper{options.scale}")


def _plus(options: Options) -> Variant:
    return Variant("plus", {64: "laptop64", 256: "plus256"}[options.scale])


def _uni(options: Options) -> Variant:
    without_style = ("network.style_dim=0", "weights.style=0")
    return Variant("uni", f"paper{options.scale}", without_style)


def _table1(options: Options) -> Protocol:
    return Protocol(
        "table1",
        "Table 1: translation without pairs",
        "Is a translation a picture of its domain, and does it keep the content of its source?",
        (_paper(options), _plus(options)),
        _TRANSLATION,
    )


def _table2(options: Options) -> Protocol:
    plus = f"plus{options.scale}"
    return Protocol(
        "table2",
        "Table 2: generation and extension",
        "Are pictures from nothing, and the rightmost squares of extended ones, like real ones?",
        (
            _paper(options)._replace(prior={64: "laptop64", 256: "paper256"}[options.scale]),
            _plus(options)._replace(prior=plus),
        ),
        (
            *_columns("generation", HEADLINE, "kid_lite2", "precision", "recall", "niqe"),
            *_columns("generation", "nearest"),
            *_columns("extension", HEADLINE, "niqe", "psnr", "seam", "repetition"),
            *_columns("prior", "bits_per_token"),
        ),
    )


def _table3(options: Options) -> Protocol:
    paired = ("pairing=paired", "weights.cross_pixel=3")
    # The release's weights for pairs.
    released = (*paired, "weights.style=0.5", "weights.content=0.5", "game.translated=0.8")
    return Protocol(
        "table3",
        "Table 3: translation with pairs",
        "How near does a translation come to the other half of its pair?",
        (_paper(options)._replace(settings=released), _plus(options)._replace(settings=paired)),
        _columns("translation", *_TRUTH, *_LOOKS, *_TEXTURE),
        paired=True,
    )


def _table4(options: Options) -> Protocol:
    rules = {
        "vq": (),
        "ema_restart": ("network.quantizer=ema_restart", "weights.codebook=0"),
    }
    variants = []
    for codes, dim, (quantizer, settings) in product(options.codes, options.dims, rules.items()):
        size = (f"network.codebook_size={codes}", f"network.embed_dim={dim}")
        variants.append(
            Variant(
                f"{quantizer}-{codes}x{dim}",
                f"paper{options.scale}",
                (*settings, *size),
                prior={64: "plus64", 256: "paper256"}[options.scale] if options.prior else None,
                against=None if quantizer == "vq" else f"vq-{codes}x{dim}",
                place=Place(quantizer, codes, dim),
            )
        )
    return Protocol(
        "table4",
        "Table 4: size and dimension of the codebook",
        "How much of a codebook is used under the paper's rule (vq) and under moving averages with "
        "restarts (ema_restart), and what does use buy?",
        tuple(variants),
        (
            *_columns("codebook", "codes_used", "perplexity", "dead_codes"),
            *_REBUILT,
            *(_columns("prior", "bits_per_token") if options.prior else ()),
        ),
        published=(
            "512 codes of 512 dimensions: about 35 codes are used",
            "64 codes of 64 dimensions: all codes are used",
        ),
    )


def _figure8(options: Options) -> Protocol:
    contrastive = ("weights.style=0.1", "weights.content=0.5", "weights.patch_nce=0.5")
    patches = ("patch_nce.num_patches=256", "patch_nce.temperature=0.07")
    return Protocol(
        "figure8",
        "Figure 8: PatchNCE",
        "Does a contrastive loss on patches keep more of the content?",
        (
            _paper(options)._replace(settings=("weights.patch_nce=0",)),
            Variant("patch-nce", f"paper{options.scale}", (*contrastive, *patches)),
        ),
        _TRANSLATION,
    )


def _uni_protocol(options: Options) -> Protocol:
    return Protocol(
        "uni",
        "uni-VQ-I2I: without style",
        "What does it cost, and what does it gain, if generators decode content alone?",
        (_paper(options), _uni(options)),
        (*_TRANSLATION, *_REBUILT),
    )


def _methods(options: Options) -> Protocol:
    baselines = (
        Variant("cyclegan", "cyclegan64", stage="baseline"),
        Variant("cut", "cut64", stage="baseline"),
    )
    # There are no recipes of baselines for more than 64 px.
    others = baselines if options.scale == 64 else ()
    return Protocol(
        "methods",
        "Methods at an equal budget",
        "Which translator is best after the same time on the same images?",
        (_plus(options), _paper(options), _uni(options), *others),
        (*_TRANSLATION, *_REBUILT),
    )


PROTOCOLS: dict[str, Callable[[Options], Protocol]] = {
    "table1": _table1,
    "table2": _table2,
    "table3": _table3,
    "table4": _table4,
    "figure8": _figure8,
    "uni": _uni_protocol,
    "methods": _methods,
}


def make_protocol(name: str, options: Options) -> Protocol:
    """A protocol by its name.

    Raises:
        UserError: there is no such protocol (the message lists those there are) or scale.
    """
    if name not in PROTOCOLS:
        from vqi2i.checking.typed import meant

        raise UserError(
            f"there is no protocol {name!r}{meant(name, PROTOCOLS)}: choose one of "
            f"{', '.join(PROTOCOLS)}"
        )
    if options.scale not in SCALES:
        raise UserError(
            f"there are no recipes for {options.scale} px: choose --scale 64, or 256 where there "
            "is a GPU"
        )
    return PROTOCOLS[name](options)


def parse_sizes(text: str, option: str) -> tuple[int, ...]:
    """Sizes as they are typed, `64,256`: each once, rising.

    Raises:
        UserError: one is no whole number above 1.
    """
    try:
        sizes = sorted({int(part) for part in text.split(",")})
    except ValueError:
        sizes = [0]
    if sizes[0] < 2:
        raise UserError(f"{option} {text} are no sizes: give whole numbers above 1, like 64,256")
    return tuple(sizes)

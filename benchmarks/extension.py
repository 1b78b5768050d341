"""Extensions beside the truth: seams, repetition and skylines of real pictures, of ours and of the
release's way.

    python benchmarks/extension.py --model BUNDLE [--model BUNDLE ...] \\
        --paint SEED --count 32 --sheet sheet.png
    python benchmarks/extension.py --model BUNDLE --wide FOLDER --domain summer --count 32

The middle half of wide pictures is extended back to their full width. Ends with one JSON line; a
score is to be read against that of the real pictures at the same borders, and of their own tokens
as the first model decodes them: no prior can do better than that model.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import imaging
from evaluation.metrics.seams import Border, repetition_scores, seam_scores, skyline_jumps
from imaging.codec import Pixels
from pipelines.synthetic.dataset import DOMAINS, draw_content, draw_style, render
from vqi2i import Sampling, Translator
from vqi2i.priors.causal import CausalPrior
from vqi2i.priors.infill import complete, infill

SHOWN = 6
RELEASED = Sampling(temperature=2.0, top_k=5, top_p=1.0, windows="per_token")


class Wide(NamedTuple):
    """Pictures of one domain, uint8 (n, height, 2 * middle, 3)."""

    domain: str
    pictures: np.ndarray

    @property
    def side(self) -> int:
        """Pixels to imagine on either side."""
        return self.pictures.shape[2] // 4

    @property
    def middle(self) -> Tensor:
        """What is known of them."""
        return imaging.to_tensor(self.pictures[:, :, self.side : 3 * self.side])


def painted(count: int, size: int, seed: int) -> list[Wide]:
    """`count` landscapes of each season, twice as wide as high."""
    made = []
    for domain in DOMAINS:
        rngs = [np.random.default_rng([seed, index]) for index in range(count)]
        made.append(
            Wide(
                domain,
                np.stack(
                    [
                        render(
                            draw_content(rng, 2),
                            draw_style(rng, domain),
                            height=size,
                            width=2 * size,
                        )
                        for rng in rngs
                    ]
                ),
            )
        )
    return made


def photographs(folder: Path, domain: str, count: int, size: int) -> Wide:
    """The first `count` pictures of a folder that are at least 1.5 times as wide as high, cut to
    twice a height of `size` or what of that there is.
    """
    found = []
    for path in sorted(folder.iterdir()):
        picture = imaging.resize_short_side(imaging.read(path), size)
        if picture.shape[0] == size and picture.shape[1] >= 1.5 * size:
            found.append(picture)
        if len(found) == count:
            break
    if not found:
        raise SystemExit(
            f"{folder} holds no picture that is 1.5 times as wide as high: choose another folder"
        )
    width = min(min(picture.shape[1] for picture in found), 2 * size) // 16 * 16
    return Wide(domain, np.stack([imaging.center_crop(picture, size, width) for picture in found]))


def rebuilt(translator: Translator, wide: Wide) -> Tensor:
    """What a perfect prior would give: the tokens of the whole pictures, decoded in the style of
    their middle.
    """
    tokens, _ = translator.encode(imaging.to_tensor(wide.pictures), wide.domain)
    return translator.decode(tokens, translator.encode(wide.middle, wide.domain).style, wide.domain)


def released(translator: Translator, wide: Wide) -> Tensor:
    """As the release extends: a window moved token by token, and to the left with mirrored
    tokens.
    """
    prior = translator.prior
    assert isinstance(prior, CausalPrior)
    tokens, style = translator.encode(wide.middle, wide.domain)
    domains = torch.full((len(tokens),), translator.domains.index(wide.domain))
    new = wide.side // translator.network.stride
    for _ in range(2):  # to the right, then mirrored and to what is now the right
        canvas, known = (
            F.pad(tokens, (0, new)),
            F.pad(torch.ones_like(tokens[0], dtype=torch.bool), (0, new)),
        )
        generators = [torch.Generator().manual_seed(row) for row in range(len(tokens))]
        tokens = complete(infill(prior, canvas, known, domains, RELEASED, generators)).flip(2)
    return translator.decode(tokens, style, wide.domain)


def ways(
    translator: Translator, wide: Wide, seed: int, sampling: Sampling
) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """All ways in which a model extends pictures, by name."""
    name = type(translator.prior).__name__.removesuffix("Prior").lower()

    def extended(feather: int | None) -> Callable[[], Tensor]:
        return lambda: translator.extend(
            wide.middle,
            domain=wide.domain,
            left=wide.side,
            right=wide.side,
            seed=seed,
            feather=feather,
            sampling=sampling,
        )

    yield f"{name}, as decoded", extended(None)
    for feather in (0, 1, 2, 4):
        yield f"{name}, pasted, feather {feather}", extended(feather)
    if isinstance(translator.prior, CausalPrior):
        yield "the release's way", lambda: released(translator, wide)


def figures(pictures: np.ndarray, side: int) -> dict[str, np.ndarray]:
    """Scores of pictures (n, height, width, 3) that were continued on either side, per picture or
    border.
    """
    width = pictures.shape[2]
    new = np.ones(pictures.shape[1:3], bool)
    new[:, side : width - side] = False
    borders = [Border("vertical", side), Border("vertical", width - side)]
    return {
        "seam": seam_scores(pictures, borders),
        "repetition": repetition_scores(pictures, new),
        "skyline_jump": skyline_jumps(pictures, [border.at for border in borders]),
    }


def summary(scores: dict[str, np.ndarray], real: dict[str, np.ndarray]) -> dict[str, float]:
    """Means; for the seam its ratio to real pictures' with the standard error by resampling
    pictures, for repetition how much more it is than in them.
    """
    rng = np.random.default_rng(0)
    picks = rng.integers(len(real["seam"]), size=(400, len(real["seam"])))
    ratios = scores["seam"][picks].mean(1) / real["seam"][picks].mean(1)
    more = scores["repetition"] - real["repetition"]
    more = more[np.isfinite(more)]
    return {
        "seam": float(scores["seam"].mean()),
        "seam_over_real": float(scores["seam"].mean() / real["seam"].mean()),
        "seam_over_real_error": float(ratios.std()),
        "repetition": float(np.nanmean(scores["repetition"])),
        "repetition_over_real": float(more.mean()),
        "repetition_over_real_error": float(more.std() / len(more) ** 0.5),
        "skyline_jump_median": float(np.median(scores["skyline_jump"])),
        "skyline_jumps_beyond_real_95": float(
            np.mean(scores["skyline_jump"] > np.quantile(real["skyline_jump"], 0.95))
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", action="append", required=True, help="a bundle with a prior; once per prior"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--wide", type=Path, help="folder of wide pictures")
    source.add_argument("--paint", type=int, help="seed of painted landscapes")
    parser.add_argument("--domain", help="of the pictures in the folder")
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--top-p", type=float, default=Sampling().top_p, help="of our ways")
    parser.add_argument("--sheet", type=Path, help="contact sheet to write")
    options = parser.parse_args()
    models = [Translator.load(path) for path in options.model]
    size = models[0].network.resolution
    if options.wide is None:
        sets = painted(options.count, size, options.paint)
    elif options.domain is None:
        raise SystemExit("say with --domain which domain the pictures are of")
    else:
        sets = [photographs(options.wide, options.domain, options.count, size)]

    made: dict[str, list[np.ndarray]] = {"real": [wide.pictures for wide in sets]}
    made["the truth's tokens"] = [
        np.stack(imaging.to_pixels(rebuilt(models[0], wide))) for wide in sets
    ]
    seconds: dict[str, float] = {}
    for translator in models:
        for wide in sets:
            for name, way in ways(translator, wide, options.seed, Sampling(top_p=options.top_p)):
                start = time.perf_counter()
                made.setdefault(name, []).append(np.stack(imaging.to_pixels(way())))
                seconds[name] = seconds.get(name, 0) + time.perf_counter() - start
    side = sets[0].side
    scores = {name: figures(np.concatenate(pictures), side) for name, pictures in made.items()}
    result = {name: summary(score, scores["real"]) for name, score in scores.items()}
    for name, row in result.items():
        cells = "  ".join(f"{key} {value:.3f}" for key, value in row.items())
        print(f"{name:28s} {cells}  {seconds.get(name, 0):.1f} s")
    if options.sheet is not None:
        shown: list[Pixels] = [
            picture
            for pictures in made.values()
            for wide in pictures
            for picture in wide[: SHOWN // len(sets)]
        ]
        imaging.write(options.sheet, imaging.grid(shown, columns=SHOWN // len(sets) * len(sets)))
    print(json.dumps({"pictures": len(scores["real"]["seam"]), "ways": result, "seconds": seconds}))


if __name__ == "__main__":
    main()

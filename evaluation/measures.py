"""Every figure of an evaluation: what it is called, in what it counts, and what it can see."""

from typing import Literal, NamedTuple


class Measure(NamedTuple):
    """One kind of figure."""

    title: str
    unit: str  # empty where it has none
    better: Literal["higher", "lower", "closer"]  # closer: to the real images' own figure
    digits: int
    meaning: str  # one sentence for the report


_KID = "How far the pictures are from real ones of the domain, as a set, to {}."

MEASURES: dict[str, Measure] = {
    "kid_lite0": Measure(
        "KID-Lite0", "", "lower", 3, _KID.format("a network that knows things (EfficientNet-Lite0)")
    ),
    "kid_lite0_places": Measure(
        "KID-Lite0, stride 16", "", "lower", 3, _KID.format("its features of parts of pictures")
    ),
    "kid_lite2": Measure(
        "KID-Lite2", "", "lower", 3, _KID.format("a second network (EfficientNet-Lite2)")
    ),
    "kid_random": Measure(
        "KID on random convolutions",
        "",
        "lower",
        4,
        "As KID-Lite0, by an untrained network: it sees colours and layout, not blur, noise or "
        "JPEG.",
    ),
    "kid_plug_in": Measure("KID on the plug-in", "", "lower", 4, _KID.format("your network")),
    "cmmd_plug_in": Measure(
        "CMMD on the plug-in",
        "",
        "lower",
        4,
        "As KID, with a kernel that is meant for CLIP's features of length 1.",
    ),
    "frechet_plug_in": Measure(
        "Fréchet distance on the plug-in",
        "",
        "lower",
        2,
        "The distance of FID, on your network's features; biased below some thousand images.",
    ),
    "precision": Measure("precision", "", "higher", 3, "Pictures that lie among real ones."),
    "recall": Measure("recall", "", "higher", 3, "Real pictures that lie among those made."),
    "density": Measure("density", "", "higher", 3, "How many real ones a picture lies near."),
    "coverage": Measure("coverage", "", "higher", 3, "Real pictures that have one made near."),
    "structure": Measure(
        "structure distance",
        "",
        "lower",
        3,
        "How much of the content has changed; no truth needed.",
    ),
    "domain_accuracy": Measure(
        "domain accuracy", "", "higher", 3, "Pictures that a classifier takes for the domain."
    ),
    "diversity": Measure(
        "diversity (ST-LPIPS)",
        "",
        "higher",
        3,
        "How different pictures of one source look under sampled styles.",
    ),
    "st_lpips": Measure(
        "ST-LPIPS to the truth", "", "lower", 3, "How different picture and truth look to people."
    ),
    "psnr": Measure("PSNR to the truth", "dB", "higher", 2, "Pixel by pixel."),
    "ssim": Measure("SSIM to the truth", "", "higher", 3, "Structures in small windows."),
    "edges": Measure(
        "edges", "", "higher", 3, "Correlation of luminance gradients with the truth's."
    ),
    "niqe": Measure(
        "NIQE, fitted", "", "lower", 2, "How unnatural pictures are against the training images."
    ),
    "sharpness": Measure(
        "sharpness", "", "closer", 3, "Luminance gradients, over those of real pictures: 1 is real."
    ),
    "specks": Measure(
        "specks", "", "closer", 3, "Lone pixels of other colours, over real pictures': 1 is real."
    ),
    "seam": Measure("seam", "", "closer", 3, "The step where a picture goes on; 1 shows nothing."),
    "repetition": Measure(
        "repetition", "", "lower", 3, "How well new patches are found again in the same picture."
    ),
    "skyline": Measure(
        "skyline jump", "px", "lower", 2, "How far the skyline jumps where a picture goes on."
    ),
    "codes_used": Measure("codes used", "", "higher", 3, "Share of the codebook in test tokens."),
    "perplexity": Measure("perplexity", "codes", "higher", 1, "Codes as if all were used alike."),
    "dead_codes": Measure("dead codes", "codes", "lower", 0, "Codes that no test token has."),
    "bits_per_token": Measure(
        "bits per token", "bit", "lower", 3, "What the prior needs for unseen tokens."
    ),
    "nearest": Measure(
        "distance to the nearest training image",
        "",
        "closer",
        3,
        "Cosine distance in Lite0 features, over that of real test images: far below 1 is learned "
        "by heart.",
    ),
}

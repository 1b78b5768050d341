"""Model cards: what a bundle is, in words, for whoever finds it."""

from vqi2i.bundle import BundleConfig


def model_card(config: BundleConfig) -> str:
    """Markdown that describes a bundle by its own configuration and provenance."""
    network = config.network
    can = "translate, restyle, blend styles"
    if config.prior is not None:
        can += ", generate, extend, complete" + ("" if config.prior.all_sides else " (not upwards)")
    lines = [
        f"# VQ-I2I: {', '.join(network.domains)}",
        "",
        f"Translates images between {', '.join(network.domains)}. It can {can}.",
        "",
        "| property | value |",
        "|---|---|",
        f"| nominal size | {network.resolution} px, one token for {network.stride}x{network.stride} px |",
        f"| codebook | {network.codebook_size} vectors of {network.embed_dim} numbers |",
        f"| style | {network.style_dim} numbers |",
        f"| prior | {_prior(config)} |",
        *(f"| {name} | {value} |" for name, value in config.provenance.items()),
        "",
        "Method: Vector Quantized Image-to-Image Translation (ECCV 2022, arXiv 2207.13286). A model knows its training "
        "images: what it was not shown it will not draw well, and its licence follows the images'.",
        "",
        "```python",
        "from vqi2i import Translator",
        'translator = Translator.load("PATH")',
        "```",
        "",
    ]
    return "\n".join(lines)


def _prior(config: BundleConfig) -> str:
    if config.prior is None:
        return "none (stage 2 not trained)"
    prior, (rows, columns) = config.prior, config.prior.window
    return f"{prior.kind} transformer, {prior.num_layers} layers, {prior.width} wide, {rows}x{columns} tokens"

"""What small weights cost a prior: bits per token of held-out images, as in sampling.

A causal prior is fed token by token; a masked one sees half of each image, the same half in every
precision.

    python benchmarks/precision.py --model BUNDLE --data SHARDS [--count 16]

One JSON line: bits per token in every precision, and the difference to float32 with its standard
error over images.
"""

import argparse
import json
import math

import torch
import torch.nn.functional as F
from torch import Tensor

import imaging
from pipelines.reading.reader import ShardReader
from vqi2i import Translator
from vqi2i.priors.causal import CausalPrior
from vqi2i.priors.kv_cache import Stepper
from vqi2i.priors.masked import MaskedPrior
from vqi2i.priors.prior import Prior
from vqi2i.priors.sampling import Precision

PRECISIONS: dict[type[Prior], tuple[Precision, ...]] = {
    CausalPrior: ("float32", "bf16", "int8"),
    MaskedPrior: ("float32", "bf16"),
}


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="a bundle with a prior")
    parser.add_argument("--data", required=True, help="shards whose test images are read")
    parser.add_argument("--count", type=int, default=16, help="images of each domain")
    options = parser.parse_args()
    translator, reader = Translator.load(options.model), ShardReader(options.data)
    prior = translator.prior
    assert prior is not None, "the bundle has no prior"
    bits: dict[Precision, list[Tensor]] = {precision: [] for precision in PRECISIONS[type(prior)]}
    for number, domain in enumerate(translator.domains):
        side = translator.network.resolution
        chosen = range(min(options.count, reader.count("test", domain)))
        images = imaging.to_tensor(
            [imaging.center_crop(reader.read("test", domain, i), side, side) for i in chosen]
        )
        tokens, _ = translator.encode(images, domain)
        for precision in bits:
            measured = (
                stepped(prior, tokens, number, precision)
                if isinstance(prior, CausalPrior)
                else half_hidden(prior, tokens, number, precision)
            )
            bits[precision].append(measured)
    each = {precision: torch.cat(parts) for precision, parts in bits.items()}
    rows = {
        precision: {
            "bits_per_token": round(float(values.mean()), 4),
            "over_float32": round(float((values - each["float32"]).mean()), 4),
            "error": round(float((values - each["float32"]).std() / len(values) ** 0.5), 4),
        }
        for precision, values in each.items()
    }
    print(json.dumps({"benchmark": "precision", "images": len(each["float32"]), **rows}))


def stepped(prior: CausalPrior, tokens: Tensor, domain: int, precision: Precision) -> Tensor:
    """Bits per token (b,) of grids (b, h, w) of a domain, fed one token after the other."""
    flat = tokens.flatten(1)
    sequence = prior.sequence(flat, torch.full((len(flat),), domain))
    stepper, prefix = Stepper(prior.eval(), len(flat), precision), prior.config.prefix_length
    nll = torch.zeros(len(flat))
    for cell in range(flat.shape[1]):
        logits = stepper.feed(sequence[:, stepper.fed : prefix + cell])
        nll += F.cross_entropy(logits.float(), flat[:, cell], reduction="none")
    return nll / flat.shape[1] / math.log(2)


@torch.no_grad()
def half_hidden(prior: MaskedPrior, tokens: Tensor, domain: int, precision: Precision) -> Tensor:
    """Bits per hidden token (b,) of grids (b, h, w) of a domain, about half of whose cells are
    hidden.
    """
    hidden = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(domain)) < 0.5
    with torch.autocast(tokens.device.type, torch.bfloat16, enabled=precision == "bf16"):
        return prior.eval().nll(tokens, hidden, torch.full((len(tokens),), domain)) / math.log(2)


if __name__ == "__main__":
    main()

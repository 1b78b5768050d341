"""How different the pictures of one source look under sampled styles."""

from itertools import combinations

import torch
from torch import Tensor

from evaluation.parts import Cases, Part
from evaluation.results import Measurement
from evaluation.tasks.context import Context, in_batches
from evaluation.tasks.controls import FLOOR
from evaluation.tasks.findings import mean_of
from imaging import to_tensor
from imaging.codec import Images
from vqi2i.translator import Translator


def diversity(context: Context, model: Translator, source: str, target: str) -> Part:
    """Mean ST-LPIPS between the pictures of one source.

    After the protocol of Zhu et al. (BicycleGAN, 2017): the mean over sources of the mean distance
    of all pairs of a source's samples.
    """
    bare = Measurement(
        task="diversity", source=source, target=target, style="sampled", estimates=()
    )
    if (perceptual := context.networks.perceptual) is None:
        gap = "diversity was not measured: it needs the weights of ST-LPIPS"
        return Part(bare.model_copy(update={"gaps": (gap,)}))
    given = context.images.domains[source]
    images = given.test[: context.settings.diverse]
    samples = _samples(context, model, source, target, images)
    tensors = [to_tensor(some) for some in samples]
    pairs = [perceptual.distance(a, b).double() for a, b in combinations(tensors, 2)]
    values = torch.stack(pairs).mean(0).numpy()
    real = to_tensor(context.images.domains[target].test)
    controls = {FLOOR: float(perceptual.distance(real, real.roll(1, 0)).mean())}
    shown = slice(0, context.settings.shown)
    columns = {"input": images[shown]} | {
        f"sample {number}": some[shown] for number, some in enumerate(samples, start=1)
    }
    labels = ["as it comes"] * len(images[shown])
    return Part(
        bare.model_copy(update={"estimates": (mean_of("diversity", values, controls),)}),
        keys=given.keys[: len(images)],
        each={"diversity": values},
        cases=Cases(labels, values[shown].tolist(), "diversity", columns),
    )


def _samples(
    context: Context, model: Translator, source: str, target: str, images: Images
) -> list[Images]:
    """The images in the target domain, in another style each time."""

    def sample(number: int) -> Images:
        seed = context.seed("diversity", source, target, str(number))

        def make(some: Tensor, first: int) -> Tensor:
            return model.translate(some, source=source, target=target, seed=seed + first)

        return in_batches(make, images)

    return [sample(number) for number in range(context.settings.samples)]

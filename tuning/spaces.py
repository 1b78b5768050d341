"""What is searched: named spaces of settings, and the figures that trials can be ranked by."""

from collections.abc import Callable, Sequence
from typing import Any

from errors import UserError
from training.config import LossWeights
from training.metrics import METRICS, Mode
from vqi2i.checking.typed import meant

Space = dict[str, Any]  # dotted setting -> ray.tune domain


def stage1_method() -> Space:
    """The method's own trade-offs: how many codes, and how loud each term of the objective is."""
    from ray import tune

    return {
        "network.codebook_size": tune.choice([64, 128, 256, 512]),
        "weights.adversarial": tune.loguniform(0.05, 2.0),
        "weights.content": tune.loguniform(0.05, 5.0),
        "weights.style": tune.loguniform(0.1, 10.0),
        "optim.learning_rate": tune.loguniform(1e-5, 2e-3),
    }


def stage1_codebook() -> Space:
    """Size, width and pace of the codebook."""
    from ray import tune

    return {
        "network.codebook_size": tune.choice([64, 128, 256, 512]),
        "network.embed_dim": tune.choice([16, 32, 64]),
        "codebook.decay": tune.uniform(0.9, 0.995),
        "weights.commitment": tune.loguniform(0.25, 10.0),
    }


def stage1_rates() -> Space:
    """Learning rates of the two sides."""
    from ray import tune

    return {
        "optim.learning_rate": tune.loguniform(1e-5, 2e-3),
        "discriminator_optim.learning_rate": tune.loguniform(1e-5, 2e-3),
    }


def stage2_rates() -> Space:
    """Learning rate and dropout of the prior."""
    from ray import tune

    return {
        "optim.learning_rate": tune.loguniform(1e-4, 1e-2),
        "prior.dropout": tune.uniform(0.0, 0.3),
    }


SPACES: dict[str, dict[str, Callable[[], Space]]] = {
    "stage1": {"method": stage1_method, "codebook": stage1_codebook, "rates": stage1_rates},
    "stage2": {"rates": stage2_rates},
}

# What trials can be ranked by, and in which direction it is better.
METRICS: dict[str, dict[str, Mode]] = {
    "stage1": {
        **METRICS["stage1"],
        "images_per_second": "max",
        **dict.fromkeys(LossWeights.model_fields, "min"),
    },
    "stage2": {**METRICS["stage2"], "nll": "min", "images_per_second": "max"},
}


def search_space(stage: str, name: str, *, fixed: Sequence[str] = ()) -> Space:
    """The domains of a named space.

    Args:
        stage: stage1 or stage2.
        name: name of the space.
        fixed: settings `name=value` that hold for every trial.

    Raises:
        UserError: there is no such space (the message lists those there are), or it varies a fixed
            setting.
    """
    if name not in SPACES[stage]:
        near = meant(name, SPACES[stage])
        raise UserError(
            f"there is no {stage} space {name!r}{near}: choose one of {', '.join(SPACES[stage])}"
        )
    space = SPACES[stage][name]()
    both = space.keys() & {setting.partition("=")[0] for setting in fixed}
    if both:
        raise UserError(
            f"space {name!r} varies {', '.join(sorted(both))}: leave --set of it out or take "
            "another space"
        )
    return space


def direction(stage: str, metric: str) -> Mode:
    """Whether more or less of a metric is better.

    Raises:
        UserError: the stage does not report it; the message lists what it reports.
    """
    if metric not in METRICS[stage]:
        near = meant(metric, METRICS[stage])
        known = ", ".join(METRICS[stage])
        raise UserError(
            f"{stage} trials cannot be ranked by {metric!r}{near}: choose one of {known}"
        )
    return METRICS[stage][metric]

"""The Ray cluster that work is given to."""

import logging
import os
from collections.abc import Mapping


def join_ray() -> Mapping[str, float]:
    """Use the Ray that runs already, or start one; return the resources of the whole cluster."""
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level=logging.WARNING)
    return ray.cluster_resources()

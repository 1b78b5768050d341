"""Which data a run has seen: the part of a checkpoint that decides what the next batch is."""

from collections.abc import Mapping
from typing import Any

from errors import UserError
from pipelines.reading.order import ORDER_VERSION
from vqi2i.checking.frozen import Frozen

# Names in a run's identity that belong to its data state.
IN_IDENTITY = frozenset({"data", "config.seed", "config.batch_size", "config.order"})
REMEDY = "go on with what it began with, or say --accept-other-data"


class DataState(Frozen):
    """Equal states mean that the same images come next."""

    position: int  # images of each domain seen
    seed: int
    manifest: str  # fingerprint of the data set, or of the tokens
    global_batch: int
    order: str
    order_version: int = ORDER_VERSION


def refuse_other(held: Mapping[str, Any], now: DataState) -> None:
    """Raise a UserError that names what differs if a checkpoint's data state is not that of its
    run.

    Args:
        held: the state in the checkpoint.
        now: what the resumed run would go on with.
    """
    wanted = now.model_dump()
    differing = [name for name in wanted if name not in held or held[name] != wanted[name]]
    if differing:
        changes = ", ".join(
            f"{name} {held.get(name, 'unknown')} -> {wanted[name]}" for name in differing
        )
        raise UserError(f"the checkpoint was made on other data ({changes}): {REMEDY}")

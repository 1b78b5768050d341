"""Steps whose loss is not a number are left out, on all workers; too many end the run."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from errors import UserError
from training.distributed.collectives import Collectives

_SHOWN = 6  # images that a message names
_REMEDY = "lower optim.learning_rate in another --run, or look at these images"
_log = logging.getLogger(__name__)

# names of the images at a position, of one rank's part
ImagesOf = Callable[[int, int], Sequence[str]]


class DivergenceError(UserError):
    """The objective is no longer a number; the message names the terms and the images."""


class Guard:
    """Decides before every update whether it may be made.

    Args:
        collectives: whose step it is; all workers hear the same answer.
        limit: steps in a row that may be left out.
        images_of: names what a step has seen.
    """

    def __init__(self, collectives: Collectives, limit: int, images_of: ImagesOf):
        self._collectives = collectives
        self._limit = limit
        self._images_of = images_of
        self._in_a_row = 0
        self.left_out = 0  # steps of the whole run

    def verdict(self, losses: Mapping[str, Tensor]) -> Tensor:
        """This worker's part of the decision, to be summed over all workers.

        Which losses, and whose, are not finite.

        Args:
            losses: this worker's own, by the same names on all workers.
        """
        # (world_size + losses,): who met something that is not finite, and which losses were not
        ranks = torch.zeros(self._collectives.world_size, device=self._collectives.device)
        bad = _not_finite(losses)
        ranks[self._collectives.rank] = bad.any()
        return torch.cat([ranks, bad])

    def passes(
        self, verdict: Tensor, losses: Iterable[str], norms: Mapping[str, Tensor], position: int
    ) -> bool:
        """Whether a step may be taken: every loss and gradient is finite on every worker.

        Args:
            verdict: the sum of those of all workers.
            losses: names of what it judges.
            norms: of the gradients, which the workers have averaged: they tell nothing about whose
                images are at fault.
            position: images of each domain seen before the step.

        Raises:
            DivergenceError: more steps in a row than allowed have not been finite.
        """
        terms = [*losses, *norms]
        counts = torch.cat([verdict, _not_finite(norms)])
        # Here the host waits for the device.
        found = [count > 0 for count in counts.tolist()]
        if not any(found):
            self._in_a_row = 0
            return True
        self._in_a_row += 1
        self.left_out += 1
        ranks = self._collectives.world_size
        named = [name for name, is_bad in zip(terms, found[ranks:], strict=True) if is_bad]
        images = self._images(position, found[:ranks])
        what = f"{', '.join(named)} not finite after {position} images, on {images}"
        if self._in_a_row > self._limit:
            raise DivergenceError(f"{what}, and no step in {self._in_a_row} was: {_REMEDY}")
        if self._collectives.rank == 0:
            _log.warning("%s: this step is left out", what)
        return False

    def _images(self, position: int, guilty: Sequence[bool]) -> str:
        """The images of the guilty ranks, of all ranks if none is."""
        of = [rank for rank, is_bad in enumerate(guilty) if is_bad or not any(guilty)]
        names = [name for rank in of for name in self._images_of(position, rank)]
        return ", ".join(names[:_SHOWN]) + (
            f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes."""
        return {"in_a_row": self._in_a_row, "left_out": self.left_out}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self._in_a_row, self.left_out = state["in_a_row"], state["left_out"]


def _not_finite(scalars: Mapping[str, Tensor]) -> Tensor:
    """1 for each that is no number, else 0."""
    return (
        ~torch.isfinite(torch.stack([scalar.detach().float() for scalar in scalars.values()]))
    ).float()

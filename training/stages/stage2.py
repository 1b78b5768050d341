"""Stage 2: teach a transformer what grids of content tokens look like."""

import math
from collections.abc import Generator, Mapping
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.optim import AdamW
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from errors import UserError
from imaging.codec import Pixels
from pipelines.schema import Split, measured_split
from pipelines.tokens import TokenBatch, TokenReader
from training.checkpointing.data_state import DataState
from training.config import Stage2Config
from training.distributed.collectives import Collectives
from training.hardware import autocast
from training.metrics import chosen
from training.stages.device_loader import Transfer, prefetched
from training.stages.nan_guard import Guard
from training.stages.optimizer import OptimizedNetwork
from training.stages.previews import generation_grid
from training.stages.rng import seed_of
from training.stages.token_windows import draw_windows, measured_windows
from vqi2i.bundle import CHOSEN
from vqi2i.priors.causal import CausalPrior
from vqi2i.priors.likelihood import nats_per_token
from vqi2i.priors.masked import MaskedPrior
from vqi2i.priors.prior import Prior, build_prior, embed_codes
from vqi2i.translator import Translator

MEASURED_WINDOWS = 256  # windows of each domain and split that are measured during training


class Windows(NamedTuple):
    """A batch on the device, rows ordered domain by domain."""

    tokens: Tensor  # (n, rows, columns) int64, the size of the prior's window
    domains: Tensor  # (n,) int64 indices, of what the prior is told
    hidden: Tensor  # (n, rows, columns) bool: what a masked prior has to say


class Stage2:
    """The prior, its optimiser and progress: one object that is checkpointed whole."""

    def __init__(
        self,
        config: Stage2Config,
        collectives: Collectives,
        tokens: TokenReader,
        stage1: Translator,
        provenance: Mapping[str, Any],
    ):
        self.config = config
        self.collectives = collectives
        self.tokens = tokens
        self.stage1 = stage1
        self.provenance = provenance
        self.position = 0  # images of each domain seen
        if any(
            side < length
            for side, length in zip(tokens.identity.grid, config.prior.window, strict=True)
        ):
            raise UserError(
                f"the token grids {tokens.identity.grid} are smaller than prior.window: set a "
                "larger crop"
            )
        torch.manual_seed(config.seed)
        self.prior = build_prior(config.prior, stage1.network).to(collectives.device)
        if config.embeddings == "codebook":
            embed_codes(self.prior, stage1.autoencoder.codebook.codes())
        self.measured: Split = measured_split(
            len(tokens.tokens("validation", domain)) for domain in tokens.domains
        )
        if not all(len(tokens.tokens(self.measured, domain)) for domain in tokens.domains):
            raise UserError(
                "there are neither validation nor test images to measure a prior on: build the "
                "shards with `vqi2i data shard --validation 0.1`"
            )
        self.averaged = AveragedModel(
            self.prior, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay)
        )
        self.guard = Guard(collectives, config.max_nonfinite, self._names)
        self.optimized = OptimizedNetwork(self.prior, config.optim, AdamW)

    @property
    def images_per_position(self) -> int:
        """Images read for each step of `position`."""
        return len(self.tokens.domains)

    def batches(self, start: int) -> Generator[Windows, None, None]:
        """Endless training batches from position `start` on."""
        transfer = Transfer(self.collectives.device)
        with closing(
            prefetched(self._seen(start), lambda batch: tuple(map(transfer.send, batch)))
        ) as source:
            for sent in source:
                yield Windows(*(part.receive() for part in sent))

    def _seen(self, start: int) -> Generator[tuple[np.ndarray, ...], None, None]:
        """Windows of this worker's grids, as arrays in the order of `Windows`."""
        for position, batch in zip(
            count(start, self.config.batch_size), self._read(start), strict=False
        ):
            # grids of each domain in this worker's part, and the place in the data of their first
            local = len(batch.tokens) // len(self.tokens.domains)
            first = position + self.collectives.rank * local
            places = [
                (number, first + row % local) for row, number in enumerate(batch.domains.tolist())
            ]
            seen = draw_windows(
                torch.from_numpy(batch.tokens),
                self.config.prior.window,
                places,
                seed=self.config.seed,
                domain_dropout=self.config.domain_dropout,
            )
            domains = batch.domains
            # The causal prior has nothing that stands for no domain: it is told all of them.
            if isinstance(self.prior, MaskedPrior):
                domains = np.where(seen.domains_told.numpy(), domains, self.prior.no_domain)
            yield seen.tokens.numpy(), domains, seen.hidden.numpy()

    def _read(self, start: int) -> Generator[TokenBatch, None, None]:
        size = self.config.batch_size
        if size % self.collectives.world_size:
            raise UserError(
                f"batch_size {size} cannot be shared by {self.collectives.world_size} workers: "
                "use a multiple of it"
            )
        while True:
            yield self.tokens.batch(
                start,
                global_batch=size,
                seed=self.config.seed,
                rank=self.collectives.rank,
                world_size=self.collectives.world_size,
            )
            start += size

    def train_step(self, batch: Windows, time_gone: float = 0.0) -> dict[str, Tensor]:
        """Follow the gradient of the negative log-likelihood of one batch (paper, second stage).

        Args:
            batch: windows of all domains.
            time_gone: share of the schedule's minutes that has passed.

        Returns:
            The loss; nothing if it or its gradient was not finite and nothing was learned.

        Raises:
            DivergenceError: that happened too often in a row; the prior is as before.
        """
        phase = self.collectives.stopwatch.phase
        self.prior.train()
        # Of dropout: a function of the position, so that a resumed run drops the same.
        torch.manual_seed(seed_of("stage2", self.config.seed, self.position, self.collectives.rank))
        with self._autocast():
            nll = self._nll(batch)
        self.optimized.adam.zero_grad()
        with phase("backward"):
            nll.backward()
        with phase("optimiser"):
            # Workers meet once; the norm is that of their mean gradient.
            verdict = self.guard.verdict({"nll": nll})
            self.collectives.exchange([self.prior], verdict)
            norms = {"gradients of the prior": self.optimized.clip()}
            if taken := self.guard.passes(verdict, ["nll"], norms, self.position):
                self.optimized.descend(
                    self.config.schedule.learning_rate_factor(self.position, time_gone)
                )
                self.averaged.update_parameters(self.prior)
        self.position += self.config.batch_size
        return {"nll": nll.detach().float()} if taken else {}

    def _names(self, position: int, rank: int) -> list[str]:
        size, seed = self.config.batch_size, self.config.seed
        return self.tokens.names(
            position,
            global_batch=size,
            seed=seed,
            rank=rank,
            world_size=self.collectives.world_size,
        )

    def _nll(self, batch: Windows) -> Tensor:
        """Mean negative log-likelihood in nats per token, of hidden tokens where some are."""
        if isinstance(self.prior, MaskedPrior):
            return self.prior.nll(batch.tokens, batch.hidden, batch.domains).mean()
        return self.prior.nll(batch.tokens, batch.domains).mean()

    def _autocast(self) -> torch.autocast:
        return autocast(self.collectives.device, self.config.precision)

    def measure(self) -> dict[str, float]:
        """Negative log-likelihood of held-out grids in nats and bits per token.

        Also how much more that is than of as many training grids (`gap_bits`); see
        `vqi2i.priors.likelihood` for what is comparable. For a prior that continues pictures
        upwards, also the bits of held-out pictures turned upside down.
        """
        held_out, trained = self._mean_nats(self.measured), self._mean_nats("train")
        upwards = (
            {
                "held_out_bits_upside_down": self._mean_nats(self.measured, upside_down=True)
                / math.log(2)
            }
            if self.config.prior.upwards
            else {}
        )
        return {
            "held_out_nll": held_out,
            "held_out_bits_per_token": held_out / math.log(2),
            **upwards,
            "gap_bits": (held_out - trained) / math.log(2),
            "left_out_steps": float(self.guard.left_out),
            "learning_rate": self.optimized.learning_rate,
        }

    def _mean_nats(self, split: Split, *, upside_down: bool = False) -> float:
        """Of the centre crops of a split, by the averaged weights without dropout."""
        prior = self._average().eval()
        # Of a picture's grids (n, views, H, W): the centre crop, or that one upside down.
        view = self.tokens.identity.variants if upside_down else 0
        seen = [
            measured_windows(
                self.tokens.tokens(split, domain)[:, view],
                self.config.prior.window,
                MEASURED_WINDOWS,
            )
            for domain in self.tokens.domains
        ]
        domains = torch.cat(
            [torch.full((len(windows),), number) for number, windows in enumerate(seen)]
        )
        if upside_down:
            assert isinstance(prior, CausalPrior)
            domains = prior.upside_down(domains)
        tokens = torch.cat(seen)
        with self._autocast():
            return float(
                nats_per_token(
                    prior, tokens.to(self.collectives.device), domains.to(self.collectives.device)
                ).mean()
            )

    def _average(self) -> Prior:
        """The averaged weights: what is measured, shown and exported."""
        assert isinstance(self.averaged.module, Prior)
        return self.averaged.module

    def samples(self) -> dict[str, Pixels]:
        """Images generated from nothing."""
        return {"generated": generation_grid(self.translator())}

    def translator(self, chosen_by: str = "") -> Translator:
        """Stage 1 with the prior as it is now; see `export`."""
        own = {
            "prior_images_seen": self.position,
            "prior_measured_on": self.measured,
            f"prior_{CHOSEN}": chosen(chosen_by, self.measured),
        }
        provenance = {**self.stage1.provenance, **self.provenance, **own}
        prior = build_prior(self.config.prior, self.stage1.network)
        prior.load_state_dict(self._average().state_dict())
        return Translator(
            self.stage1.autoencoder,
            self.stage1.style_prior,
            prior.to(self.collectives.device),
            provenance,
        )

    def export(self, path: Path, chosen_by: str = "") -> None:
        """Write the bundle of stage 1 and the prior.

        Args:
            path: where.
            chosen_by: the figure by which the prior's weights are the best; empty: they are the
                last.
        """
        self.translator(chosen_by).save(path)

    def data_state(self) -> DataState:
        """Which tokens come next."""
        return DataState(
            position=self.position,
            seed=self.config.seed,
            manifest=self.tokens.identity.sha256,
            global_batch=self.config.batch_size,
            order="samples",
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes during training."""
        return {
            "position": self.position,
            "prior": self.prior.state_dict(),
            "averaged": self.averaged.state_dict(),
            "adam": self.optimized.adam.state_dict(),
            "guard": self.guard.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`, made by `state_dict` under the same configuration."""
        self.position = state["position"]
        self.prior.load_state_dict(state["prior"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimized.adam.load_state_dict(state["adam"])
        self.guard.load_state_dict(state["guard"])

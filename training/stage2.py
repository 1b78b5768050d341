"""Stage 2: teach a causal transformer what grids of content tokens look like."""

from collections.abc import Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW

from imaging.codec import Pixels
from pipelines.tokens import TokenBatch, TokenReader
from training.config import Stage2Config
from training.data_state import DataState
from training.draws import seed_of
from training.precision import autocast
from training.prefetch import prefetched
from training.snapshots import generation_grid
from training.transfer import Transfer
from training.worker import Worker
from vqi2i.translator import Translator, build_prior

HELD_OUT = 256  # test grids of each domain that are measured during training


class Grids(NamedTuple):
    """A batch on the device, rows ordered domain by domain."""

    tokens: Tensor  # (n, rows, columns) int64
    domains: Tensor  # (n,) int64 indices


class Stage2:
    """The prior, its optimiser and progress: one object that is checkpointed whole."""

    def __init__(
        self,
        config: Stage2Config,
        worker: Worker,
        tokens: TokenReader,
        stage1: Translator,
        provenance: Mapping[str, Any],
    ):
        self.config = config
        self.worker = worker
        self.tokens = tokens
        self.stage1 = stage1
        self.provenance = provenance
        self.time_gone = 0.0  # share of the schedule's minutes
        self.position = 0  # images of each domain seen
        if tokens.identity.grid != config.prior.window:
            rows, columns = tokens.identity.grid
            raise ValueError(
                f"prior.window is {config.prior.window} but the model makes {rows}x{columns} tokens: set both equal"
            )
        torch.manual_seed(config.seed)
        self.prior = build_prior(config.prior, stage1.network).to(worker.device)
        optim = config.optim
        self.adam = AdamW(
            self.prior.parameters(), optim.learning_rate, optim.betas, weight_decay=optim.weight_decay, fused=True
        )

    @property
    def images_per_position(self) -> int:
        """Images read for each step of `position`."""
        return len(self.tokens.domains)

    def batches(self, start: int) -> Generator[Grids, None, None]:
        """Endless training batches from position `start` on."""
        transfer = Transfer(self.worker.device)
        with closing(prefetched(self._read(start), lambda batch: tuple(map(transfer.send, batch)))) as source:
            for tokens, domains in source:
                yield Grids(tokens.receive(), domains.receive())

    def _read(self, start: int) -> Generator[TokenBatch, None, None]:
        size = self.config.batch_size
        if size % self.worker.world_size:
            raise ValueError(
                f"batch_size {size} cannot be shared by {self.worker.world_size} workers: use a multiple of it"
            )
        while True:
            yield self.tokens.batch(
                start,
                global_batch=size,
                seed=self.config.seed,
                rank=self.worker.rank,
                world_size=self.worker.world_size,
            )
            start += size

    def train_step(self, batch: Grids) -> dict[str, Tensor]:
        """Follow the gradient of the negative log-likelihood of one batch (paper, second stage)."""
        phase = self.worker.stopwatch.phase
        self.prior.train()
        torch.manual_seed(seed_of("stage2", self.config.seed, self.position, self.worker.rank))  # of dropout
        with self._autocast():
            nll = self.prior.nll(batch.tokens, batch.domains)
        self.adam.zero_grad()
        with phase("backward"):
            nll.backward()
        with phase("optimiser"):
            self._descend()
        self.position += self.config.batch_size
        return {"nll": nll.detach().float()}

    def _descend(self) -> None:
        self.worker.average_gradients(self.prior)
        nn.utils.clip_grad_norm_(self.prior.parameters(), self.config.optim.clip_norm)
        factor = self.config.schedule.learning_rate_factor(self.position, self.time_gone)
        for group in self.adam.param_groups:
            group["lr"] = self.config.optim.learning_rate * factor
        self.adam.step()

    def _autocast(self) -> torch.autocast:
        return autocast(self.worker.device, self.config.precision)

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Negative log-likelihood of held-out grids, in nats and bits per token."""
        self.prior.eval()
        values = []
        for number, domain in enumerate(self.tokens.domains):
            grids = self.tokens.tokens("test", domain)[:HELD_OUT, 0].astype(np.int64)
            for part in torch.from_numpy(grids).split(32):
                with self._autocast():
                    nll = self.prior.nll(
                        part.to(self.worker.device), torch.full((len(part),), number, device=self.worker.device)
                    )
                values.append((float(nll), len(part)))
        held_out = sum(value * count for value, count in values) / sum(count for _, count in values)
        return {
            "held_out_nll": held_out,
            "held_out_bits_per_token": held_out / np.log(2),
            "learning_rate": self.adam.param_groups[0]["lr"],
        }

    def samples(self) -> dict[str, Pixels]:
        """Images generated from nothing."""
        return {"generated": generation_grid(self.translator())}

    def translator(self) -> Translator:
        """Stage 1 with the prior as it is now."""
        provenance = {**self.stage1.provenance, **self.provenance, "prior_images_seen": self.position}
        prior = build_prior(self.config.prior, self.stage1.network)
        prior.load_state_dict(self.prior.state_dict())
        return Translator(self.stage1.autoencoder, self.stage1.style_prior, prior.to(self.worker.device), provenance)

    def export(self, path: Path) -> None:
        """Write the bundle of stage 1 and the prior."""
        self.translator().save(path)

    def data_state(self) -> DataState:
        """Which tokens come next."""
        return DataState(
            position=self.position, seed=self.config.seed, manifest=self.tokens.identity.sha256,
            global_batch=self.config.batch_size, order="samples",
        )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes during training."""
        return {"position": self.position, "prior": self.prior.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`, made by `state_dict` under the same configuration."""
        self.position = state["position"]
        self.prior.load_state_dict(state["prior"])
        self.adam.load_state_dict(state["adam"])

"""The causal prior: a transformer that predicts content tokens in raster order."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqi2i.config import PriorConfig
from vqi2i.errors import UserError
from vqi2i.priors.transformer import Block, Rotation, initialise, rotation


class RasterNeighbours(nn.Module):
    """A depthwise convolution over the known tokens around the one to predict.

    Input i of the sequence is the token before cell i, so that the tokens to the left, above right,
    above and above left of cell i are inputs i, i - columns + 2, i - columns + 1 and i - columns.
    At the borders of the grid raster order goes on in the next row, and so do these.
    """

    def __init__(self, width: int, columns: int):
        super().__init__()
        # inputs back from the one that predicts: 0 holds the token to the left, 1 the next to it
        self.offsets = sorted({0, 1, max(columns - 2, 0), columns - 1, columns})
        self.norm = nn.LayerNorm(width)
        self.taps = nn.Parameter(torch.zeros(len(self.offsets), width))

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, n, width) to the same shape."""
        reach, length = self.offsets[-1], x.shape[1]
        # Zeros in front, (b, reach + n, width), so that the first inputs find nothing before them.
        return self.mix(F.pad(self.norm(x), (0, 0, reach, 0)), reach, length)

    def mix(self, y: Tensor, start: int, length: int) -> Tensor:
        """What `length` inputs of normalised y (b, n, width), from `start` on, make of earlier."""
        mixed = y[:, start : start + length] * self.taps[0]
        for tap, offset in zip(self.taps[1:], self.offsets[1:], strict=True):
            mixed = torch.addcmul(mixed, y[:, start - offset : start - offset + length], tap)
        return mixed


class CausalPrior(nn.Module):
    """p(token | tokens before it in raster order) over a window of the token grid, after a prefix.

    The prefix is the domain, or for checkpoints of the release a grid of coordinates that is the
    same for every image.

    Args:
        config: sizes.
        codebook_size: number of tokens.
        num_domains: number of domains.
        stride: image pixels per token; the coordinates are those of pixels.
    """

    def __init__(self, config: PriorConfig, *, codebook_size: int, num_domains: int, stride: int):
        super().__init__()
        self.config = config
        self.codebook_size = codebook_size
        rows, columns = config.window
        self.num_domains = num_domains
        # The prefix shares the table with the tokens: domains have rows of their own (two where
        # pictures are learned upside down as well), coordinates are read as tokens.
        conditions = (
            num_domains * (2 if config.upwards else 1) if config.condition == "domain" else 0
        )
        entries = codebook_size + conditions
        self.embedding = nn.Embedding(entries, config.width)
        self.coordinates: Tensor
        self.register_buffer(
            "coordinates", coordinate_tokens(config.window, stride, codebook_size), persistent=False
        )
        if config.positions == "learned":
            self.positions = nn.Parameter(torch.zeros(config.num_positions, config.width))
        else:
            self.rows = nn.Parameter(torch.zeros(rows, config.width))
            self.columns = nn.Parameter(torch.zeros(columns, config.width))
        self.turns: Tensor  # of queries and keys: cosine and sine, each (n, head channels / 2)
        self.register_buffer("turns", _turns(config), persistent=False)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            [
                Block(config, RasterNeighbours(config.width, columns) if config.local else None)
                for _ in range(config.num_layers)
            ]
        )
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, codebook_size, bias=False)
        initialise(self)

    def upside_down(self, domains: Tensor) -> Tensor:
        """Indices (b,) that stand for the same domains (b,) where pictures are turned upside down.

        Raises:
            UserError: the prior has not learned such pictures.
        """
        if not self.config.upwards:
            raise UserError(
                "this model's prior reads pictures from above and cannot continue them upwards: "
                "train stage 2 with prior.upwards=true or prior.kind=masked (recipes plus64, "
                "masked64 and plus256), or ask for the other sides alone"
            )
        return domains + self.num_domains

    def sequence(self, tokens: Tensor, domains: Tensor) -> Tensor:
        """The prefix and tokens (b, n) of domains (b,)."""
        # (b, window's cells) or (b, 1)
        if self.config.condition == "coordinates":
            prefix = self.coordinates.expand(len(tokens), -1)
        else:
            prefix = self.codebook_size + domains[:, None]
        return torch.cat([prefix, tokens], dim=1)

    def inputs(self, tokens: Tensor, domains: Tensor) -> Tensor:
        """What predicts tokens (b, n) of domains (b,): their sequence without its last token."""
        return self.sequence(tokens, domains)[:, :-1]

    def places(self) -> Tensor:
        """What is added to the inputs (n, width) for where they stand."""
        if self.config.positions == "learned":
            return self.positions
        return (self.rows[:, None] + self.columns).flatten(0, 1)  # of the cell that is predicted

    def rotations(self, start: int, stop: int) -> tuple[Rotation, Rotation] | None:
        """Turns of queries and keys of inputs `start` to `stop`; None for learned positions."""
        if self.config.positions == "learned":
            return None
        # (2, n, head channels / 2) each: cosines and sines
        query, key = self.turns[:, :, start:stop]
        return Rotation(*query), Rotation(*key)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (b, n, codebook_size) of what follows each of (b, n); see `inputs`."""
        length = inputs.shape[1]
        # (b, n, width)
        x = self.dropout(self.embedding(inputs) + self.places()[:length])
        turns = self.rotations(0, length)
        for block in self.blocks:
            x = block(x, turns, causal=True)
        return self.head(self.norm(x))

    def nll(self, tokens: Tensor, domains: Tensor) -> Tensor:
        """Mean negative log-likelihood (b,), nats per token, of grids (b, h, w), a window each."""
        flat = tokens.flatten(1)
        # The last input of the prefix predicts the first token.
        logits = self(self.inputs(flat, domains))[:, self.config.prefix_length - 1 :].float()
        return (
            F.cross_entropy(logits.flatten(0, 1), flat.flatten(), reduction="none")
            .view_as(flat)
            .mean(dim=1)
        )


def coordinate_tokens(window: tuple[int, int], stride: int, codebook_size: int) -> Tensor:
    """The release's prefix (rows * columns,): mean raster position of cells, in codebook steps."""
    rows, columns = window
    height, width = rows * stride, columns * stride
    # The mean of y W + x over a cell is that of its middle.
    y, x = (torch.arange(side, dtype=torch.float64) * stride + (stride - 1) / 2 for side in window)
    share = (y[:, None] * width + x[None]) / (height * width)
    return (codebook_size * share).round().long().flatten()


def _turns(config: PriorConfig) -> Tensor:
    """Angles of all inputs (2, 2, n, head channels / 2).

    Queries turn with the cell to predict, keys with their own.
    """
    rows, columns = config.window
    cells = torch.arange(rows * columns)
    y, x = cells // columns, cells % columns
    # Input i holds the token of cell i - 1; the prefix stands before the first cell.
    own = torch.cat([torch.tensor([0]), y[:-1]]), torch.cat([torch.tensor([-1]), x[:-1]])
    channels = config.width // config.num_heads
    return torch.stack([torch.stack(rotation(*place, channels)) for place in ((y, x), own)])

"""Checkpoint files like those of the release: small networks whose weights follow from key, shape
and seed.
"""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

DATA = Path(__file__).parents[1] / "data" / "authors_small"
FACTS = json.loads((DATA / "config.json").read_text())


def weight(key: str, shape: list[int], seed: int) -> Tensor:
    """The tensor of one key: NumPy's legacy stream, which is the same everywhere, scaled by what
    the key is.
    """
    if key.endswith("attn.mask"):
        return torch.ones(shape).tril()
    if "running_" in key:
        return torch.full(shape, float(key.endswith("var")))
    stream = np.random.RandomState((zlib.crc32(key.encode()) + seed) % 2**32)
    values = torch.from_numpy(stream.standard_normal(shape).astype(np.float32))
    if key.endswith("quantize.embedding.weight"):
        return values * np.float32(0.8)
    if key.endswith(("tok_emb.weight", "pos_emb")):
        return values * 0.5
    if len(shape) > 1:
        return values / np.float32(math.sqrt(math.prod(shape[1:])))
    return 1 + 0.1 * values if key.endswith(".weight") else 0.1 * values


def stage1_weights() -> dict[str, Tensor]:
    """Everything in a stage-1 file."""
    return {key: weight(key, shape, FACTS["seed"]) for key, shape in FACTS["stage1_shapes"].items()}


def stage2_weights() -> dict[str, Tensor]:
    """Everything in a stage-2 file, which repeats stage 1."""
    first = {f"first_stage_model.{key}": value for key, value in stage1_weights().items()}
    return first | {
        key: weight(key, shape, FACTS["seed"]) for key, shape in FACTS["stage2_shapes"].items()
    }


def write(path: Path, weights: dict[str, Tensor]) -> Path:
    """A file as the release saves it."""
    torch.save({"model_state_dict": weights}, path)
    return path

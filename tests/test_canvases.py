"""Large canvases stay within 4 GB: 2048 x 512 pixels from models for 64 and for 256 px, in a
process of their own.
"""

import subprocess
import sys

import pytest

from tests.documents import ROOT

LIMIT = 4e9 / 1024  # kB
SCRIPT = """
import resource, sys, torch
from training.recipes import recipe
from vqi2i import Translator
from vqi2i.networks.autoencoder import Autoencoder
from vqi2i.editing.chain import read_chain
from vqi2i.config import NetworkConfig, PriorConfig
from vqi2i.priors.prior import build_prior
from vqi2i.priors.style_prior import StylePrior

torch.manual_seed(0)
network = {"64 px": NetworkConfig(
    domains=("summer", "winter"), base_channels=24, channel_multipliers=(1, 2), num_res_blocks=1
), "256 px": recipe("stage1", "plus256", ("summer", "winter")).network.model_copy(
    update={"num_res_blocks": 1}  # as wide, but less deep: the same memory in half the time
)}[sys.argv[1]]
small = PriorConfig(kind="masked", positions="rotary", num_layers=1, num_heads=2, width=32)
prior = build_prior(small, network)
styles = StylePrior({domain: torch.randn(4, network.style_dim) for domain in network.domains})
model = Translator(Autoencoder(network), styles, prior)
chain = read_chain({"from": "summer", "steps": [
    {"extend": {"left": 512, "right": 512, "top": 128, "bottom": 128, "draw": {"steps": 1}}},
    {"transition": {"to": "winter", "styles": ["noon", "dusk"], "direction": "radial"}},
]})
pictures = {name: torch.rand(1, 3, 64, 64) for name in ("noon", "dusk")}
made = model.compose(torch.rand(1, 3, 256, 1024) * 2 - 1, chain, pictures=pictures)
assert made.shape == (1, 3, 512, 2048), made.shape
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.parametrize("model", ["64 px", "256 px"])
def test_a_canvas_of_2048_by_512_pixels_fits_into_4_gigabytes(model: str) -> None:
    """Extended on four sides, under styles that change from the middle to the corners."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, model], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < LIMIT

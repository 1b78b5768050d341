"""What styles a domain has: sampling one needs no image.

Training styles, and a kernel around each.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vqi2i.errors import UserError

_BUFFER = "styles_"


class StylePrior(nn.Module):
    """Kernel density over the styles of training images, one per domain.

    A Gaussian would put most of its mass between the modes (a dusk that is half a noon); kernels
    keep the modes.
    """

    def __init__(self, styles: Mapping[str, Tensor]):
        super().__init__()
        for domain, rows in styles.items():
            if rows.ndim != 2 or not len(rows):
                raise UserError(
                    f"the style prior of {domain} needs styles (n, style_dim), got "
                    f"{tuple(rows.shape)}"
                )
            self.register_buffer(f"{_BUFFER}{domain}", rows.detach().float().cpu())

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "StylePrior":
        """The prior whose `state_dict` is `tensors`."""
        return cls({name.removeprefix(_BUFFER): rows for name, rows in tensors.items()})

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains whose styles are known; none for an imported model without data."""
        return tuple(name.removeprefix(_BUFFER) for name, _ in self.named_buffers())

    def styles(self, domain: str) -> Tensor:
        """The fitted styles (n, style_dim) of a domain.

        Raises:
            UserError: no styles of the domain were fitted.
        """
        if domain not in self.domains:
            raise UserError(
                f"this model has no style prior for {domain}: give an example of the style, or "
                "fit one"
            )
        return self.get_buffer(f"{_BUFFER}{domain}")

    def sample(self, domain: str, generators: list[torch.Generator]) -> Tensor:
        """Draw one style per generator: (len(generators), style_dim)."""
        rows = self.styles(domain)
        count, dim = rows.shape
        if dim == 0:  # uni-VQ-I2I: one look per domain
            return rows.new_zeros(len(generators), 0)
        # Half of Scott's rule, which assumes one Gaussian and would smear several modes into one.
        bandwidth = 0.5 * count ** (-1 / (dim + 4)) * rows.std(0, correction=0)
        drawn = []
        for generator in generators:
            index = int(torch.randint(count, (), generator=generator))
            noise = torch.randn(dim, generator=generator).to(rows.device)
            drawn.append(rows[index] + bandwidth * noise)
        return torch.stack(drawn)

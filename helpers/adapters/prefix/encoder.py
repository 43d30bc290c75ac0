"""The learned vectors of a prefix: stored as they are, or as what a small network makes of learned inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from helpers.errors import ModelError


class PrefixEncoder(nn.Module):
    """``n`` learned vectors of one width, stored as they are or as what a small network makes of learned inputs.

    With a network the vectors are ``start + W₂ tanh(W₁ e + b₁) + b₂`` with one learned ``e`` a token (Li & Liang,
    2021, arXiv:2101.00190, section 4.3: training the vectors directly was unstable). Everything is float32.

    Args:
        n, width: shape of the vectors.
        hidden: width of the inputs and of the network's hidden layer; ``None`` stores the vectors themselves.
        start: ``(n, width)``, the vectors before training; ``None`` draws them from N(0, std²).
        std: with a network, its last layer is scaled so that the vectors start with this spread.
    """

    def __init__(self, n: int, width: int, *, hidden: int | None, start: torch.Tensor | None, std: float) -> None:
        super().__init__()
        self.hidden = hidden
        if hidden is None:
            self.values = nn.Parameter(torch.randn(n, width) * std if start is None else start.float().clone())
            return
        self.inputs = nn.Parameter(torch.randn(n, hidden))
        self.mlp = nn.Sequential(nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, width))
        self.register_buffer("start", torch.zeros(n, width) if start is None else start.float().clone())
        last: Any = self.mlp[2]
        with torch.no_grad():
            last.bias.zero_()
            if start is None and n:
                last.weight.mul_(std / self.mlp(self.inputs).std())
            else:  # inputs differ from token to token, so the first step already moves them apart
                last.weight.zero_()

    def forward(self) -> torch.Tensor:
        return self.values if self.hidden is None else self.start + self.mlp(self.inputs)

    def merge(self) -> None:
        """Keep what the network computes and drop the network."""
        if self.hidden is not None:
            values = self().detach().clone()
            del self.inputs, self.mlp, self.start
            self.values, self.hidden = nn.Parameter(values), None


def prefix_length(init: str | Sequence[int], n_tokens: int | None) -> int:
    """Length of a prefix: as asked for, or that of the text it starts from.

    Raises:
        ModelError: neither, both and different, or `init` is not known.
    """
    if isinstance(init, str):
        if init not in ("random", "zeros"):
            raise ModelError(f"init={init!r} is not known", "use 'random', 'zeros' or the token ids of a text")
        if n_tokens is None:
            raise ModelError("the length of the prefix is not given", "set n_tokens")
        return n_tokens
    if n_tokens is not None and n_tokens != len(init):
        raise ModelError(f"init has {len(init)} tokens and n_tokens is {n_tokens}", "leave n_tokens out")
    return len(init)

"""The loss on labelled positions against PyTorch's cross-entropy, and its gradient against autograd's."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from helpers.training.losses import IGNORED, LabelledLoss


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("upstream", [1.0, 0.25])
def test_labelled_loss_is_cross_entropy_with_its_gradient(dtype: torch.dtype, upstream: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(3, 5, 17, generator=generator)).to(dtype).requires_grad_()
    targets = torch.randint(0, 17, (3, 5), generator=generator)
    targets[0, 2] = targets[2] = IGNORED  # a hole, and a row without any label
    count = 8.0
    expected = functional.cross_entropy(
        logits.float().flatten(0, 1), targets.flatten(), reduction="sum", ignore_index=IGNORED
    )
    (wanted,) = torch.autograd.grad(upstream * expected / count, logits)
    found = LabelledLoss.apply(logits, targets, 1 / count)
    assert found.dtype == torch.float32 and torch.allclose(found, expected / count, rtol=1e-5)
    (gradient,) = torch.autograd.grad(upstream * found, logits, retain_graph=True)
    assert gradient.dtype == dtype
    assert torch.allclose(gradient, wanted, rtol=1e-5 if dtype == torch.float32 else 1e-2, atol=1e-7)
    assert not gradient[2].any() and not gradient[0, 2].any()
    with pytest.raises(RuntimeError, match="taken already"):
        torch.autograd.grad(found, logits)
    with torch.no_grad():
        assert torch.allclose(LabelledLoss.apply(logits, targets, 1 / count), found)

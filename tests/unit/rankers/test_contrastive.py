"""The contrastive term: what it holds in memory, and that it ties views together.

Agreement with the dense form is in tests/golden/test_micro_published.py.
"""

import torch
import torch.nn.functional as F

from rankers import contrastive
from rankers.contrastive import contrastive_loss
from recsim_gen.core.randomness import Rng


def table(seed: int, n: int = 200) -> torch.Tensor:
    return F.normalize(torch.randn(n, 8, generator=Rng(seed).torch()), dim=1)


def test_no_more_than_a_chunk_of_similarities_is_kept_for_the_backward_pass(monkeypatch):
    n, chunk = 200, 10
    monkeypatch.setattr(contrastive, "CHUNK_ELEMENTS", chunk * 2 * n)
    kept: list[int] = []

    def pack(x: torch.Tensor) -> torch.Tensor:
        kept.append(x.numel())
        return x

    view, fused = table(1).requires_grad_(), table(2).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        loss = contrastive_loss(view, fused, 0.5)
    assert max(kept) < chunk * 2 * n  # recomputed in the backward pass, not kept
    loss.backward()
    assert view.grad.isfinite().all()


def test_learning_by_it_ties_each_item_to_its_fusion():
    view, fused = table(1, 30).requires_grad_(), table(2, 30)
    optimiser = torch.optim.Adam([view], lr=0.05)
    first = contrastive_loss(view, fused, 0.5).item()
    for _ in range(150):
        optimiser.zero_grad()
        contrastive_loss(F.normalize(view, dim=1), fused, 0.5).backward()
        optimiser.step()
    learned = F.normalize(view.detach(), dim=1)
    assert contrastive_loss(learned, fused, 0.5).item() < first
    assert ((learned @ fused.T).argmax(1) == torch.arange(30)).all()


def test_the_order_of_the_items_does_not_matter():
    view, fused = table(1), table(2)
    loss = contrastive_loss(view, fused, 0.5)
    order = torch.randperm(200, generator=Rng(3).torch())
    assert torch.isclose(contrastive_loss(view[order], fused[order], 0.5), loss, atol=1e-6)
    assert not torch.isclose(contrastive_loss(view, fused[order], 0.5), loss, atol=1e-4)


def test_a_low_temperature_is_no_loss_of_digits():
    """At 0.02 an item's likeness to itself is e^50: it must be left out, not taken off again."""
    view, fused = table(1, 50), table(2, 50)
    for temperature in (0.5, 0.1, 0.02):
        exact = contrastive_loss(view.double(), fused.double(), temperature)
        assert torch.isclose(contrastive_loss(view, fused, temperature).double(), exact, rtol=1e-5)

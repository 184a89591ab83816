from __future__ import annotations

import torch
from torch import nn

from undrift.policies.sb3.networks import TanhNetwork, linear_maps, tanh_network


def test_the_fused_network_has_the_gradient_of_its_formula():
    torch.manual_seed(0)
    double = {"dtype": torch.float64, "requires_grad": True}
    x, shapes = torch.randn(4, 5, **double), ((6, 5), (6,), (7, 6), (7,), (2, 7), (2,))
    layers = [torch.randn(*shape, **double) for shape in shapes]
    torch.autograd.gradcheck(TanhNetwork.apply, (x, *layers))
    hidden = torch.tanh(torch.tanh(x @ layers[0].T + layers[1]) @ layers[2].T + layers[3])
    torch.testing.assert_close(TanhNetwork.apply(x, *layers), hidden @ layers[4].T + layers[5])


def test_it_computes_what_the_modules_do_for_a_sequence():
    torch.manual_seed(0)
    hidden, last = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 7), nn.Tanh()), nn.Linear(7, 2)
    x = torch.randn(4, 3, 5)
    torch.testing.assert_close(tanh_network(x, linear_maps(hidden, last)), last(hidden(x)))

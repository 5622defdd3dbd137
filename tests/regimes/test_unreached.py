"""Which parameters a loss hangs on."""

import torch
from torch import nn

from p2be_exp.regimes.unreached import nothing_of, unreached


def test_they_are_those_without_a_gradient():
    net = nn.ModuleDict({name: nn.Linear(3, 3) for name in ("first", "second", "aside", "detached")})
    given = torch.ones(2, 3)
    loss = (net["second"](net["first"](given)) + net["detached"](given).detach() + net["aside"].weight.sum()).sum()
    found = unreached(loss, net.parameters())
    loss.backward()
    assert [id(each) for each in found] == [id(each) for each in net.parameters() if each.grad is None]
    assert [id(each) for each in found] == [id(net["aside"].bias), *map(id, net["detached"].parameters())]


def test_a_loss_without_a_graph_reaches_nothing():
    parameter = nn.Parameter(torch.ones(2))
    assert unreached(torch.ones(()), [parameter])[0] is parameter


def test_nothing_has_a_gradient_of_0_to_all():
    parameters = [nn.Parameter(torch.full((2, size), 3.0)) for size in (1, 4)]
    nothing = nothing_of(parameters)
    assert nothing == 0
    nothing.backward()
    assert all(torch.equal(each.grad, torch.zeros_like(each)) for each in parameters)
    assert nothing_of([]) == 0

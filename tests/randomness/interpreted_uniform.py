"""Run by test_uniform_kernel.py under Triton's interpreter: the kernel's draws are those of the tensor arithmetic."""

import itertools

import torch

from p2be_exp.randomness.draws import _uniform_plain
from p2be_exp.randomness.uniform_kernel import uniform

LAST = 2**32 - 1
IMAGES = torch.tensor([0, 1, 49_999, 2**31, LAST])
PLACES = [(1, 0), (3, 0), (68, 0), (5, 3), (1, 1), (4, 2**33 - 4), (0, 7)]  # how many, from which on

for seed, stream, purpose in itertools.product([0, 1, LAST, 2**64 - 1], [0, 1, 16, LAST], [2, 2**31]):
    for n, start in PLACES:
        arguments = (IMAGES, seed & LAST, seed >> 32, stream, purpose, n, start)
        expected = _uniform_plain(*arguments)
        assert torch.equal(uniform(*arguments), expected), arguments
        held = (*arguments[:3], 0, *arguments[4:], torch.tensor(stream))  # the second word by a tensor
        assert torch.equal(uniform(*held), expected), held

many = torch.arange(300)  # more than one program
assert torch.equal(uniform(many, 5, 6, 7, 1, 3, 0), _uniform_plain(many, 5, 6, 7, 1, 3, 0))
assert uniform(many[:0], 0, 0, 0, 1, 3, 0).shape == (0, 3)
print("equal")

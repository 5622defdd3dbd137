"""MixedNUTS' transforms of one image's logits, in plain Python floats: the reference of two test files."""

import math


def slow_standardised(logits, largest):
    seen = sorted(logits, reverse=True)[:largest]
    mean = sum(seen) / len(seen)
    variance = sum((each - mean) ** 2 for each in seen) / (len(seen) - 1)
    return [(each - mean) / math.sqrt(variance + 1e-8) for each in logits]


def slow_transform(logits, s, c, p, largest):
    found = []
    for z in slow_standardised(logits, largest):
        u = (z + c) * 0.5 * (1 + math.erf((z + c) / math.sqrt(2)))
        found.append(s * math.copysign(abs(u) ** p, u))
    return found


def slow_softmax(logits):
    highest = max(logits)
    powers = [math.exp(each - highest) for each in logits]
    return [each / sum(powers) for each in powers]

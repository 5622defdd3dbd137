"""TENET's channel groups, mask and overlap written out for one image, step by step, for tests of the fast forms."""

import numpy as np


def slow_groups(points: np.ndarray, first: list[int]) -> list[int]:
    """The groups of one image's channels ``(C, D)``, step by step; fails where rounding could decide."""
    points = points.astype(np.float64)
    centres = list(first)
    for _ in range(50):
        distances = np.array([[np.sum((x - points[centre]) ** 2) for centre in centres] for x in points])
        assigned = [int(np.argmin(row)) for row in distances]
        assert all(clear(np.unique(row)) for row in distances)
        following: list[int] = []
        for k in range(len(centres)):
            members = [points[c] for c in range(len(points)) if assigned[c] == k]
            left = [c for c in range(len(points)) if c not in following]
            if not members:
                following.append(left[0])
                continue
            mean = np.mean(members, axis=0)
            to_mean = {c: np.sum((points[c] - mean) ** 2) for c in left}
            smallest = min(to_mean.values())
            nearest = [c for c in left if to_mean[c] <= smallest * (1 + 1e-6)]
            assert clear(np.array([smallest, *(to_mean[c] for c in left if c not in nearest)]))
            assert all(to_mean[c] <= smallest * (1 + 1e-9) for c in nearest)
            following.append(nearest[0])
        shift = sum(np.sqrt(np.sum((points[a] - points[b]) ** 2)) for a, b in zip(centres, following, strict=True))
        assert not 0.99e-4 < shift**2 < 1.01e-4
        centres = following
        if shift**2 < 1e-4:
            break
    return assigned


def clear(values: np.ndarray) -> bool:
    """Whether the smallest is so by a margin."""
    ordered = np.sort(values)
    return len(ordered) == 1 or ordered[1] - ordered[0] > 3e-6 * ordered[1]


def slow_mask(features: np.ndarray, gradient: np.ndarray, groups: list[int]) -> np.ndarray:
    """The mask of one image's map ``(C, H, W)``, in float64."""
    features, gradient = features.astype(np.float64), gradient.astype(np.float64)
    mask = np.ones_like(features)
    for g in set(groups):
        channels = [c for c, group in enumerate(groups) if group == g]
        weight = {c: np.mean(gradient[c]) for c in channels}
        strength = sum(weight.values())
        assert abs(strength) > 1e-5 or not any(weight.values())  # its sign is not a matter of rounding
        if strength <= 0:
            continue
        m = sum(weight[c] * features[c] for c in channels)
        m = (m - np.mean(m)) / (np.sqrt(np.mean((m - np.mean(m)) ** 2)) + 1e-8)
        for c in channels:
            mask[c] = 1 / (1 + np.exp(m))
    return mask


def slow_overlap(features: np.ndarray, groups: list[int]) -> float:
    """The overlap in one image's map ``(C, H, W)``, in float64."""
    rows = []
    for g in sorted(set(groups)):
        rows.append(np.mean([features[c].ravel() for c in range(len(groups)) if groups[c] == g], axis=0, dtype=float))
    products = np.abs(np.array(rows) @ np.array(rows).T)
    k = len(rows)
    total = sum(products[i, j] for i in range(k) for j in range(i + 1, k))
    return total / (k * (k - 1) / 2 if k >= 2 else 1)

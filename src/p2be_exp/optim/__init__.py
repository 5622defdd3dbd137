"""Optimizers and schedules."""

from p2be_exp.optim.average import WeightAverage
from p2be_exp.optim.build import build_optimizer, build_schedule, clip_gradients
from p2be_exp.optim.combined import CombinedOptimizer
from p2be_exp.optim.schedule import Constant, Cosine, Steps, WarmedUpCosine, warmed_up

__all__ = [
    "CombinedOptimizer",
    "Constant",
    "Cosine",
    "Steps",
    "WarmedUpCosine",
    "WeightAverage",
    "build_optimizer",
    "build_schedule",
    "clip_gradients",
    "warmed_up",
]

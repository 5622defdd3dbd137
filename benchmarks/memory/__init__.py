"""Peak memory: of any work (``peak``); and ``python -m benchmarks.memory``, of our trainings and evaluations."""

from benchmarks.memory.peak import allocated, in_fresh_process, peak_since, resident_peak

__all__ = ["allocated", "in_fresh_process", "peak_since", "resident_peak"]

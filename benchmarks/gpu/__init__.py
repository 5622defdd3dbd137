"""``python -m benchmarks.gpu``: everything that is to be measured on a GPU that nobody prepared (docs/gpu.md)."""

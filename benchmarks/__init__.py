"""Speed and memory, and everything that is to be measured on a GPU; what was measured: RESULTS.md."""

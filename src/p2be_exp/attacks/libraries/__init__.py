"""Other libraries' attacks, run on a model's differentiable twin and judged by the model itself."""

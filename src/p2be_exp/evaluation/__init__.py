"""What is measured on a trained model: the plan, the conditions and their rows, sanity checks, figures."""

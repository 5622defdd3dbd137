"""One training: the job, the module, and what happens around a step."""

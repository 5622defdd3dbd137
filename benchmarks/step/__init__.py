"""Where the time of a training step goes, ours and the published method's."""

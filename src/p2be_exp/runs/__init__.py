"""The run folder: what a training leaves behind, how to find it, read it and go on with it."""

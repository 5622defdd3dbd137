"""The run folder: finding, reading and writing the files of a training."""

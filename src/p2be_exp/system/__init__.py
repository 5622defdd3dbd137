"""Processes and how they end: the ranks of one job, the signals that reach them, and the threads that watch both."""

"""Processes and how they end: the ranks of one job, the signals that reach them, the threads that look after both."""

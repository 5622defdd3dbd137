"""Intervals, tests and calibration errors."""

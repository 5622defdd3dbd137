"""Attacks on a classifier of levels: each returns images."""

"""Figures, scores, statistics and the live progress display of runs."""

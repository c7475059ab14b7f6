"""Evaluation of trackers on benchmarks: running, scoring, and reports."""

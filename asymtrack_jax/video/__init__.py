"""Tracking in videos for users: frame sources, writers, drawing, a window, and files of boxes."""

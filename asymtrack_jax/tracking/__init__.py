"""Tracking: crops of frames, the network on them, and its boxes mapped back to the frames."""

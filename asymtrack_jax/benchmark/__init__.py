"""Latency and throughput of the tracker on this machine, beside other runtimes of its network.

Each backend runs in a process of its own (`worker`), which may be of another interpreter. The main
process (`command`) asks them for a few calls at a time, in rounds (`timing`), so that a disturbance
of the machine meets them all alike, and reports (`report`, `plot`).
"""

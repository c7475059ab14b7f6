"""Latency and throughput of the tracker, compared with other runtimes of its network.

Each backend runs in its own process (`worker`), optionally with another interpreter. The main
process (`command`) times a few calls of each in interleaved rounds (`timing`), so that other load
on the machine affects all of them equally, and writes the report (`report`, `plot`).
"""

"""How fast the tracker is on the machine at hand, and beside other runtimes of the same network.

Each runtime works in a process of its own that waits for its turn (`worker`); this process asks
them in turn (`command`), sums up (`timing`) and shows (`report`).
"""

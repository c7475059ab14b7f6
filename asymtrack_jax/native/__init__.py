"""The fused network's forward functions in C++, called through XLA: optional, for CPUs alone.

`asymtrack native` builds them with the system's C++ compiler. From then on
`tracking.model.Model` runs them where it can; `ASYMTRACK_NATIVE=0` leaves everything to XLA.
"""

"""Optional native kernels: the fused network's forward functions in C++, called by XLA on CPUs.

`asymtrack native` builds them with the system's C++ compiler. From then on `tracking.model.Model`
uses them for float32 on CPUs; `ASYMTRACK_NATIVE=0` disables them.
"""

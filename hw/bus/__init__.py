"""What the machine speaks to the outside: AXI4 reads, AXI4-Lite, and the registers behind it.

A transfer always ends: an error becomes a status, never a hang.
"""

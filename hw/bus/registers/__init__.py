"""The register map: one description in SystemRDL, from which hardware, driver and exports come.

``python -m hw.bus.registers`` rewrites the C header that the repository keeps.
"""

"""The register map: one description, from which hardware, C header, docs table and driver come.

``python -m hw.bus.registers`` rewrites the header and the table.
"""

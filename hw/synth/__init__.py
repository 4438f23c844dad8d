"""From Amaranth to a bitstream without a licence: Yosys, nextpnr and what they report.

Devices, designs, the harness of four pins, and the flow.
"""

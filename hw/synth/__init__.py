"""Synthesis for Lattice ECP5 with Yosys and nextpnr: any component behind a few pins, with area and clock
reports. Nothing here is hardware of the accelerator but the harness that holds a design on the chip."""

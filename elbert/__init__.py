"""ELBERT: early-exit ALBERT as a bit-exact golden model and FPGA accelerator.

The door: command line and public Python API; everything below it is a library that does not know it.
"""

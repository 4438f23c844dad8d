"""What surrounds a design in simulation: clock, memory, streams, stalls, bus masters, trace monitor.

Verilog parts move on every clock; Python parts only when a bench awaits them.
"""

"""``elbert bench``: the machine measured, and compared with what was measured before."""

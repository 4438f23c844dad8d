"""How many cycles a sentence takes, told from the schedule instead of simulated: one function per
descriptor, and the memory behind the bus."""

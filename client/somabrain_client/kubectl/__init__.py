"""`kubectl sb`: inspect and operate SomaBrains from a terminal. It calls `kubectl` and needs nothing else."""

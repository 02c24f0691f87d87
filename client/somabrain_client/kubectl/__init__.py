"""`kubectl sb`: a SomaBrain looked at and helped by a person. It calls `kubectl` and needs nothing else."""

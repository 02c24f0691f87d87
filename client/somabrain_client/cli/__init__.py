"""The command `somabrain`, one module for each kind of command."""

"""The command `somabrain`, one module per group of subcommands."""

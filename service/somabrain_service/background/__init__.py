"""Background jobs, one per module; `runner` schedules them and elects the process that runs each."""

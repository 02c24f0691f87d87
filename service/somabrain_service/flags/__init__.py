"""What may be switched while the service runs."""

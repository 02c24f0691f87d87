"""What the operator and the service share. It imports neither."""

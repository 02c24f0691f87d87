"""Code shared by the operator and the service; it imports neither."""

"""Leader election by a Lease, with the terms and rules of client-go."""

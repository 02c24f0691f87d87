"""Observation: everything that is read of one SomaBrain and its surroundings, as values. Knows no plan."""

"""The authenticated caller and its tenant."""

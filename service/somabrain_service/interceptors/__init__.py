"""Interceptors of every call: one module each, composed in a fixed order by `chain`."""

"""Informers: lists and watches that keep a copy of objects, as client-go's do; kopf delivers the watch events."""

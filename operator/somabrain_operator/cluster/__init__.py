"""All Kubernetes I/O: reads, server-side apply, and the conversion of errors to SomaBrainError."""

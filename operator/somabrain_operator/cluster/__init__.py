"""The only Kubernetes I/O: reads, server-side apply, and the wrapping of every foreign error."""

"""The MCP server: the memory service's calls as tools of the Model Context Protocol. The command `somabrain mcp`.

It is a client of the gRPC service, in a separate process: it stores nothing, decides nothing, and every call that it
makes is authenticated, limited and authorized by the service as the caller's own.
"""

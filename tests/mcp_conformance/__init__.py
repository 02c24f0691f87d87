"""The protocol's own conformance suites against the MCP server: `make mcp-conformance`."""

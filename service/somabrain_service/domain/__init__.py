"""Domain model: memories, queries, limits and scoring as frozen values and pure functions, without I/O."""

"""asyncio helpers: single flight and a cache with a time to live."""

"""Helpers of asyncio code: single flight, a cache with a time to live, and back-off."""

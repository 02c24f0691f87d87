"""Which schema this image was written for, and whether the database's fits."""

from __future__ import annotations

HEAD = 5
"""Number of the newest migration in this image."""

SELECT_SCHEMA_INFO = "SELECT current, oldest_compatible FROM schema_info"

"""Schema version of this image, and the query for the database's."""

from __future__ import annotations

HEAD = 8
"""Number of the newest migration in this image."""

SELECT_SCHEMA_INFO = "SELECT current, oldest_compatible FROM schema_info"

"""Authorization of calls, decided by Open Policy Agent."""

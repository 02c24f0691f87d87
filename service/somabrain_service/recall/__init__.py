"""Ranking for Recall: the ranker, its cache, and the vectors of queries."""

"""The mathematics of ranking: BM25, contiguity and the score, in fixed point."""

"""Network helpers of both images: TLS contexts and the Redis client."""

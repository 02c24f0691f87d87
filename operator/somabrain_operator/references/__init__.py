"""References: the Secrets and ConfigMaps that a spec names, what they hold now, and when that changed."""

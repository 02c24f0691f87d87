"""The pictures of README, drawn from what real programs print."""

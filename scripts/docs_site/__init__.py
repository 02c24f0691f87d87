"""The documentation site: the pages of the repository as they are, in the order of README's table."""

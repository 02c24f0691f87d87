"""The words of this repository: what its names and texts are made of, and whether docs/glossary.md allows them."""

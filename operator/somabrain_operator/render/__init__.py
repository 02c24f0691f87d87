"""Rendering of a spec to manifests, one module per kind: pure, pinned by golden YAML in tests/golden."""

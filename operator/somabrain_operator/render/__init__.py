"""From a spec to manifests, one file a kind: pure, pinned by golden YAML in tests/golden."""

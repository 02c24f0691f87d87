"""Groups of settings, one module per concern; `common.config.settings` exports their models."""

"""LocalStack plugins that run Driftwarden's functions without Docker: see tests/README.md.

The parent folder is on PYTHONPATH. Its dist-info folder registers the plugins.
"""

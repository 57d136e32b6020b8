"""What LocalStack needs to run Driftwarden's functions without Docker: see tests/README.md.

The folder above is put on PYTHONPATH; its dist-info folder registers the plugins.
"""

"""Driftwarden on this machine: LocalStack, a SageMaker stand-in and the real functions. See tests/README.md."""

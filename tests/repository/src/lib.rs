//! Tests of the repository itself: what the code alone cannot promise. See `tests/`.

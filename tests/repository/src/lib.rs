//! Tests of the repository itself: layers, documents, schemas, and wording. See `tests/`.

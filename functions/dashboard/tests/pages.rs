//! Placeholder until the story is written below.
#[test]
fn placeholder() {}

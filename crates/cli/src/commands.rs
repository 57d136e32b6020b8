//! One module a command.

mod inspect;

pub(crate) use inspect::Inspect;

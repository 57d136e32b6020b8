//! All integration tests of the package, in one binary: each binary is linked separately.

mod executions;
mod levels;
mod oracle;
mod promises;
mod published_tables;
mod reports;
mod stored;

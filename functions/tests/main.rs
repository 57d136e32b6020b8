//! All integration tests of the package, in one binary: each binary is linked separately.

mod analyze;
mod dashboard;
mod ingest;
mod notify;
mod operator;
mod promote;
mod remediate;
mod sweep;

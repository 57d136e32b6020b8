//! All integration tests of the package, in one binary: each binary is linked separately.

mod events;
mod experiments;
mod histories;
mod plot;
mod stages;

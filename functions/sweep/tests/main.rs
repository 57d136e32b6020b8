//! All integration tests of the package, in one binary: each binary is linked separately.

mod common;
mod due;
mod fleets;
mod sweeps;

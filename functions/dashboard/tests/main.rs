//! All integration tests of the package, in one binary: each binary is linked separately.

mod bursts;
mod pages;

//! All integration tests of the package, in one binary: each binary is linked separately.

mod agreement;
mod architecture;
mod documentation;
mod words;

//! All integration tests of the package, in one binary: each binary is linked separately.

mod analysis;
mod backtest;
mod exit;
mod experiment;
mod help;
mod inspect;
mod operator;
mod window;
mod without_aws;

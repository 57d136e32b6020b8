//! Writes pages of invented models, to view them and to measure their size:
//! `cargo run -p driftwarden-model-dashboard --example fleet -- DIR [MODELS]`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "an example")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::{fs, path::PathBuf};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap_or_else(|| "dashboard".to_owned()));
    let count = arguments.next().map_or(10, |count| count.parse().unwrap());
    fs::create_dir_all(folder.join("models")).unwrap();
    let fleet = common::fleet(count);
    let overview = common::overview(&fleet);
    println!("overview of {count} models: {} bytes", overview.len());
    fs::write(folder.join(model_dashboard::OVERVIEW), overview).unwrap();
    for fixture in &fleet {
        if count <= 20 {
            println!("{}: {:?}", fixture.model, fixture.scenario);
        }
        fs::write(folder.join(model_dashboard::page_path(&fixture.model)), fixture.page()).unwrap();
    }
}

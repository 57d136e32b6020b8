//! Entry point of the container; see [`analyzer::container`].

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

fn main() -> ExitCode {
    #[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
    let variable = |name: &str| std::env::var(name).ok();
    // Outside of a container, the root can be another folder.
    let root = variable("DRIFTWARDEN_ROOT").unwrap_or_else(|| "/".to_owned());
    let (message, code) = match analyzer::container::run(Path::new(&root), variable) {
        Ok(message) => (message, ExitCode::SUCCESS),
        Err(error) => (error.to_string(), ExitCode::FAILURE),
    };
    // A failure to write the log does not change the result.
    drop(writeln!(io::stderr(), "{message}"));
    code
}

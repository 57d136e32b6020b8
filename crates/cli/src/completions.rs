//! `driftwarden completions` and `driftwarden man`: what clap knows of the commands, for shells and for man.

use crate::{Cli, Exit, Streams, table::plain};
use clap::CommandFactory as _;
use std::{fs, io, path::PathBuf};

/// Print the completions for a shell.
///
/// For bash: driftwarden completions bash > ~/.local/share/bash-completion/completions/driftwarden. For zsh, into a folder of
/// fpath, as _driftwarden. For fish: ~/.config/fish/completions/driftwarden.fish.
#[derive(Debug, clap::Args)]
pub struct Completions {
    /// The shell.
    #[arg(value_name = "SHELL", value_enum)]
    shell: clap_complete::Shell,
}

/// Print the man page, or write one for each command.
#[derive(Debug, clap::Args)]
pub struct Man {
    /// The folder to write them to, like ~/.local/share/man/man1.
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
}

impl Completions {
    /// Runs the command.
    pub(crate) fn run(&self, streams: &mut Streams<'_>) -> Exit {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "driftwarden", &mut script);
        ended(streams.out.write_all(&script))
    }
}

impl Man {
    /// Runs the command.
    pub(crate) fn run(&self, streams: &mut Streams<'_>) -> Exit {
        let Some(folder) = &self.output else {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
            return ended(rendered.and_then(|()| streams.out.write_all(&page)));
        };
        let written = fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Cli::command(), folder));
        let folder = folder.display().to_string();
        match written {
            Ok(()) => ended(writeln!(streams.out, "written: the pages, to {}", plain(&folder))),
            Err(error) => {
                let said = writeln!(
                    streams.err,
                    "error: the pages cannot be written to {}: {error}; name another folder with --output",
                    plain(&folder)
                );
                said.map_or_else(|error| Exit::of_output(&error), |()| Exit::Failed)
            }
        }
    }
}

fn ended(written: io::Result<()>) -> Exit {
    written.map_or_else(|error| Exit::of_output(&error), |()| Exit::Done)
}

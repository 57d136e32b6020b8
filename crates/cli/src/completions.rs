//! `driftwarden completions` and `driftwarden man`: shell completions and man pages.

use crate::{Cli, Exit, Streams, error::Message, table::plain};
use clap::CommandFactory as _;
use std::{fs, io, path::PathBuf};

/// Where to put completions, verbatim.
const INSTALL: &str = "\
Install:
  bash  driftwarden completions bash > ~/.local/share/bash-completion/completions/driftwarden
  fish  driftwarden completions fish > ~/.config/fish/completions/driftwarden.fish
  zsh   driftwarden completions zsh > DIR/_driftwarden (DIR is in $fpath)";

/// Print shell completions.
#[derive(Debug, clap::Args)]
#[command(after_long_help = INSTALL)]
pub struct Completions {
    /// Name of the shell.
    #[arg(value_name = "SHELL", value_enum)]
    shell: clap_complete::Shell,
}

/// Print or write man pages.
#[derive(Debug, clap::Args)]
pub struct Man {
    /// Folder for one page per command, for example ~/.local/share/man/man1 [default: print the main page].
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
}

impl Completions {
    /// Runs the command.
    pub(crate) fn run(&self, streams: &mut Streams<'_>) -> Exit {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "driftwarden", &mut script);
        exit_after(streams.out.write_all(&script))
    }
}

impl Man {
    /// Runs the command.
    pub(crate) fn run(&self, streams: &mut Streams<'_>) -> Exit {
        let Some(folder) = &self.output else {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
            return exit_after(rendered.and_then(|()| streams.out.write_all(&page)));
        };
        let written = fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Cli::command(), folder));
        let folder = folder.display().to_string();
        match written {
            Ok(()) => exit_after(writeln!(streams.out, "written: man pages in {}", plain(&folder))),
            Err(error) => {
                let message = Message::new(
                    format!("{folder}: failed to write the man pages: {error}"),
                    "pass another folder with --output",
                );
                message
                    .print(streams.err)
                    .map_or_else(|error| Exit::from_output_error(&error), |()| Exit::Failed)
            }
        }
    }
}

fn exit_after(written: io::Result<()>) -> Exit {
    written.map_or_else(|error| Exit::from_output_error(&error), |()| Exit::Done)
}

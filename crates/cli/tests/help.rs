//! What `--help` says of every command, and what is made of it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use clap::{Command, CommandFactory as _, Parser as _};
use cli::{Cli, Streams};
use std::fmt::Write as _;

fn run(line: &[&str]) -> (u8, String, String) {
    let cli = Cli::try_parse_from(["driftwarden"].iter().chain(line)).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = cli.run(Streams {
        input: &mut std::io::empty(),
        out: &mut out,
        err: &mut err,
    });
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (exit.code(), text(out), text(err))
}

/// Every command with those below it, as they are called.
fn each(command: &Command, name: &str, see: &mut impl FnMut(&str, &Command)) {
    see(name, command);
    for below in command.get_subcommands() {
        let name = format!("{name} {}", below.get_name());
        each(&below.clone().bin_name(&name), &name, see);
    }
}

#[test]
fn help_of_every_command() {
    let mut all = String::new();
    each(&Cli::command(), "driftwarden", &mut |name, command| {
        let help = command.clone().term_width(100).render_long_help();
        writeln!(all, "$ {name} --help\n{help}").unwrap();
    });
    // What clap pads, no editor keeps.
    let all: Vec<&str> = all.lines().map(str::trim_end).collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn what_shows_something_can_show_it_as_json() {
    let without = [
        "completions",
        "man",
        "window",
        "compute",
        "experiment",
        "policy",
        "dashboard",
    ];
    each(&Cli::command(), "driftwarden", &mut |name, command| {
        let last = name.rsplit(' ').next().unwrap();
        let json = command.get_arguments().any(|argument| argument.get_id() == "json");
        let exempt = without.contains(&last) || name.contains(" compute ") || last == "driftwarden";
        assert!(json || exempt, "{name} has no --json");
    });
}

#[test]
fn completions_and_man_pages_know_every_command() {
    let (_, bash, _) = run(&["completions", "bash"]);
    for shell in ["bash", "zsh", "fish"] {
        let (exit, script, _) = run(&["completions", shell]);
        assert!(
            exit == 0 && script.contains("doctor") && script.contains("stack"),
            "{shell}"
        );
    }
    assert!(bash.contains("driftwarden"));
    let (exit, page, _) = run(&["man"]);
    assert!(
        exit == 0 && page.contains("driftwarden") && page.contains("Exit codes"),
        "{page}"
    );
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("man1");
    let (exit, said, _) = run(&["man", "--output", place.to_str().unwrap()]);
    assert!(exit == 0 && said.starts_with("written: "), "{said}");
    each(&Cli::command(), "driftwarden", &mut |name, _| {
        let file = place.join(format!("{}.1", name.replace(' ', "-")));
        assert!(file.exists(), "{}", file.display());
    });
    // A folder that is a file.
    let (exit, _, said) = run(&["man", "--output", place.join("driftwarden.1").to_str().unwrap()]);
    assert!(exit == 1 && said.contains("name another folder"), "{said}");
}

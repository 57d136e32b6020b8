//! `--help` of every command, its examples, completions, and man pages.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use clap::{Command, CommandFactory as _, Parser as _};
use cli::{Cli, Streams};

fn run(line: &[&str], input: &str) -> (u8, String, String) {
    let cli = Cli::try_parse_from(["driftwarden"].iter().chain(line)).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = cli.run(Streams {
        input: &mut input.as_bytes(),
        out: &mut out,
        err: &mut err,
    });
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (exit.code(), text(out), text(err))
}

/// Visits a command and its subcommands, with their full names.
fn each(command: &Command, name: &str, visit: &mut impl FnMut(&str, &Command)) {
    visit(name, command);
    for below in command.get_subcommands() {
        let name = format!("{name} {}", below.get_name());
        each(&below.clone().bin_name(&name), &name, visit);
    }
}

fn each_command(visit: &mut impl FnMut(&str, &Command)) {
    each(&Cli::command(), "driftwarden", visit);
}

/// First line of the help of a command.
fn first_line(command: &Command) -> String {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    about.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn help_of_every_command() {
    each_command(&mut |name, command| {
        let help = command.clone().term_width(100).render_long_help().to_string();
        // clap pads lines with spaces.
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        insta::assert_snapshot!(name.replace(' ', "-"), lines.join("\n"));
    });
}

#[test]
fn first_help_line_is_a_short_imperative() {
    each_command(&mut |name, command| {
        let line = first_line(command);
        assert!(!line.is_empty(), "{name} has no help");
        assert!(line.chars().count() <= 72, "{name}: more than 72 characters: {line}");
        assert!(!line.ends_with('.'), "{name}: ends with a full stop: {line}");
        let verb = line.split([' ', ',']).next().unwrap_or_default();
        assert!(
            VERBS.contains(&verb),
            "{name}: does not start with a known verb: {line}"
        );
    });
}

/// Verbs that help lines start with.
const VERBS: &[&str] = &[
    "Approve",
    "Check",
    "Close",
    "Compare",
    "Compute",
    "Create",
    "Detect",
    "Diagnose",
    "Estimate",
    "Drop",
    "Evaluate",
    "Pause",
    "Plan",
    "Print",
    "Promote",
    "Publish",
    "Redeliver",
    "Replay",
    "Release",
    "Restore",
    "Resume",
    "Show",
    "Stop",
    "Write",
];

#[test]
fn every_option_has_help() {
    each_command(&mut |name, command| {
        for argument in command.get_arguments() {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.trim().is_empty(), "{name}: {} has no help", argument.get_id());
            assert!(!help.ends_with('.'), "{name}: {}: {help}", argument.get_id());
        }
    });
}

/// Lines of the long help that are indented JSON objects.
fn json_examples(command: &Command) -> Vec<String> {
    let about = command.get_long_about().map(ToString::to_string).unwrap_or_default();
    let lines = about.lines().filter_map(|line| line.strip_prefix("  "));
    lines.filter(|line| line.starts_with('{')).map(str::to_owned).collect()
}

#[test]
fn json_examples_are_accepted() {
    let mut commands = Vec::new();
    each_command(&mut |name, command| {
        let examples = json_examples(command);
        if examples.is_empty() {
            return;
        }
        let arguments: Vec<&str> = match name.split(' ').skip(1).collect::<Vec<_>>() {
            words if words == ["backtest"] => vec!["backtest", "-"],
            words => words,
        };
        let mut answers = 0;
        for example in &examples {
            let parsed: serde_json::Value = serde_json::from_str(example).unwrap();
            // Examples of answers follow the examples of input.
            let is_answer = ["metrics", "pre_training", "linf_simple", "ndcg"]
                .iter()
                .any(|key| parsed.get(key).is_some());
            if is_answer {
                answers += 1;
                continue;
            }
            let (exit, out, err) = run(&arguments, &format!("{example}\n"));
            assert_eq!(exit, 0, "{name}: {example}\n{out}{err}");
        }
        assert!(answers < examples.len(), "{name} has no example of input");
        commands.push(name.to_owned());
    });
    assert_eq!(
        commands,
        [
            "driftwarden backtest",
            "driftwarden window",
            "driftwarden compute bias",
            "driftwarden compute bias-report",
            "driftwarden compute model-quality",
            "driftwarden compute drift",
            "driftwarden compute attribution",
        ]
    );
}

#[test]
fn commands_with_output_support_json() {
    let without = [
        "completions",
        "man",
        "window",
        "compute",
        "experiment",
        "fleet",
        "datapoint",
        "policy",
        "dashboard",
    ];
    each_command(&mut |name, command| {
        let last = name.rsplit(' ').next().unwrap();
        let json = command.get_arguments().any(|argument| argument.get_id() == "json");
        let exempt = without.contains(&last) || name.contains(" compute ") || last == "driftwarden";
        assert!(json || exempt, "{name} has no --json");
    });
}

#[test]
fn completions_and_man_pages_have_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let (exit, script, _) = run(&["completions", shell], "");
        assert_eq!(exit, 0, "{shell}");
        each_command(&mut |name, _| {
            let last = name.rsplit(' ').next().unwrap();
            assert!(script.contains(last), "{shell}: {name}");
        });
    }
    let (exit, page, _) = run(&["man"], "");
    assert!(
        exit == 0 && page.contains("driftwarden") && page.contains("Exit codes"),
        "{page}"
    );
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    let (exit, output, _) = run(&["man", "--output", pages.to_str().unwrap()], "");
    assert!(exit == 0 && output.starts_with("written: "), "{output}");
    each_command(&mut |name, _| {
        let file = pages.join(format!("{}.1", name.replace(' ', "-")));
        assert!(file.exists(), "{}", file.display());
    });
    // The folder is a file.
    let (exit, _, err) = run(&["man", "--output", pages.join("driftwarden.1").to_str().unwrap()], "");
    assert!(exit == 1 && err.contains("hint: pass another folder"), "{err}");
}

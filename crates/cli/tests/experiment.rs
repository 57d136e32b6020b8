//! `driftwarden experiment plan`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use clap::Parser as _;
use cli::{Cli, Exit, Streams};

fn run(line: &str) -> (Exit, String) {
    let cli = Cli::parse_from(["driftwarden"].into_iter().chain(line.split(' ')));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = cli.run(Streams {
        input: &mut [].as_slice(),
        out: &mut out,
        err: &mut err,
    });
    (exit, String::from_utf8([out, err].concat()).unwrap())
}

#[test]
fn a_plan_says_how_long_a_test_takes() {
    let (exit, said) = run("experiment plan --rate 0.12 --effect 0.01 --requests-per-hour 5000");
    assert_eq!(exit, Exit::Done);
    insta::assert_snapshot!(said, @"
    to find a difference of 0.01 with probability 0.8, false alarms 0.05:
                          requests  hours  days
      looked at any time  178545    35.7   1.5
      a single look       92094     18.4   0.8
    ");
    let (_, said) = run("experiment plan --std-dev 0.3 --effect 0.01 --weights 50,50 --requests-per-hour 5000 --json");
    assert!(
        said.contains("\"fixedRequests\":28256.0,\"requests\":54781.0"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_planned_is_told() {
    let said = |more: &str| run(&format!("experiment plan --requests-per-hour 10 {more}"));
    let (exit, answer) = said("--rate 1.2 --effect 0.1");
    assert_eq!(exit, Exit::Usage);
    let (_, weights) = said("--rate 0.2 --effect 0.1 --weights 1,2,3");
    let (_, effect) = said("--rate 0.2 --effect 0");
    insta::assert_snapshot!([answer, weights, effect].concat(), @"
    error: --rate is 1.2, not between 0 and 1
    error: --weights are two numbers, the champion's and the challenger's: 90,10
    error: `effect` must be a positive number
    ");
}

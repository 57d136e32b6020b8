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
fn plan_prints_requests_and_duration() {
    let (exit, output) = run("experiment plan --rate 0.12 --effect 0.01 --requests-per-hour 5000");
    assert_eq!(exit, Exit::Done);
    insta::assert_snapshot!(output, @"
    to detect a difference of 0.01 with probability 0.8, false alarm rate 0.05:
                              requests  duration
      looks at any time        178,545  1 d 11 h
      single look at the end    92,094  18 h 25 min
    ");
    let (_, output) =
        run("experiment plan --std-dev 0.3 --effect 0.01 --weights 50,50 --requests-per-hour 5000 --json");
    assert!(
        output.contains("\"fixedRequests\":28256.0,\"requests\":54781.0"),
        "{output}"
    );
}

#[test]
fn plan_rejects_invalid_arguments() {
    let output = |more: &str| run(&format!("experiment plan --requests-per-hour 10 {more}"));
    let (exit, answer) = output("--rate 1.2 --effect 0.1");
    assert_eq!(exit, Exit::Usage);
    let (_, weights) = output("--rate 0.2 --effect 0.1 --weights 1,2,3");
    let (_, effect) = output("--rate 0.2 --effect 0");
    insta::assert_snapshot!([answer, weights, effect].concat(), @"
    error: --rate: 1.2 is not between 0 and 1
    hint: pass a proportion: --rate 0.12
    error: --weights: expected two numbers
    hint: pass the weights of champion and candidate: --weights 90,10
    error: `effect` must be a positive number
    ");
}

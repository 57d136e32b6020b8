//! The transition table: its diagram in the docs, and that every stage reaches the end.

use promotion::{Cause, ExperimentStage, TRANSITIONS, diagram};

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../ARCHITECTURE.md");

#[test]
fn diagram_in_docs_matches_transitions() -> std::io::Result<()> {
    let docs = std::fs::read_to_string(DOCS)?;
    assert!(
        docs.contains(&diagram()),
        "ARCHITECTURE.md must contain this diagram:\n{}",
        diagram()
    );
    Ok(())
}

#[test]
fn stage_and_cause_have_one_next_stage() {
    for (at, (from, cause, _)) in TRANSITIONS.iter().enumerate() {
        let others = TRANSITIONS.iter().skip(at + 1);
        assert!(
            others.into_iter().all(|(a, by, _)| (a, by) != (from, cause)),
            "{from:?} {cause:?}"
        );
    }
}

#[test]
fn every_stage_reaches_ended() {
    for stage in ExperimentStage::ALL {
        let mut reached = vec![stage];
        let mut at = 0;
        while let Some(from) = reached.get(at).copied() {
            let next = Cause::ALL.into_iter().filter_map(|cause| from.after(cause));
            for to in next.collect::<Vec<_>>() {
                if !reached.contains(&to) {
                    reached.push(to);
                }
            }
            at += 1;
        }
        assert!(reached.contains(&ExperimentStage::Ended), "{stage:?}");
        let ends = stage == ExperimentStage::Ended;
        assert_eq!(reached.len() == 1, ends, "{stage:?}");
    }
}

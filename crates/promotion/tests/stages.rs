//! The table of stages: what is drawn of it, and that nothing is a dead end.

use promotion::{Cause, ExperimentStage, TRANSITIONS, diagram};

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../ARCHITECTURE.md");

#[test]
fn the_diagram_of_the_docs_is_drawn_from_the_table() -> std::io::Result<()> {
    let docs = std::fs::read_to_string(DOCS)?;
    assert!(
        docs.contains(&diagram()),
        "ARCHITECTURE.md should hold this diagram:\n{}",
        diagram()
    );
    Ok(())
}

#[test]
fn a_cause_leads_to_one_stage_and_every_stage_but_the_last_leads_on_to_the_end() {
    for (at, (from, cause, _)) in TRANSITIONS.iter().enumerate() {
        let others = TRANSITIONS.iter().skip(at + 1);
        assert!(
            others.into_iter().all(|(a, by, _)| (a, by) != (from, cause)),
            "{from:?} {cause:?}"
        );
    }
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

//! Invariants tested: those of `crates/analyzer/tests/common/invariants.rs`, for captured data and ground truth.

#![no_main]

#[path = "../../crates/analyzer/tests/common/invariants.rs"]
mod invariants;

use analyzer::{CaptureColumns, GroundTruth, Object, OutputColumns, ReadOptions};
use libfuzzer_sys::fuzz_target;
use std::{io::Cursor, sync::Arc};

// The first byte selects the options. A byte 0xff separates the captured data from the labels.
fuzz_target!(|bytes: &[u8]| {
    let Some((how, bytes)) = bytes.split_first() else {
        return;
    };
    let mut parts = bytes.splitn(2, |byte| *byte == 0xff);
    let captured = parts.next().unwrap_or_default();
    let lines = [br#"{"captureData": {}}"#, &b"\n"[..], captured].concat();
    let labels = parts.next().map(|labels| {
        let labels = labels.to_vec();
        let object = Object::stream("labels", None, move || Ok(Box::new(Cursor::new(labels))));
        GroundTruth::read(vec![object])
    });
    let labels = match labels {
        Some(Ok(labels)) => Some(Arc::new(labels)),
        Some(Err(error)) => return assert!(error.to_string().contains("labels")),
        None => None,
    };
    let options = ReadOptions {
        expected: [vec![], vec!["a".to_owned(), "b".to_owned()]][usize::from(how & 1)].clone(),
        capture: CaptureColumns {
            output: [OutputColumns::Start, OutputColumns::End][usize::from(how >> 1 & 1)],
            predictions: how & 4 != 0,
            ground_truth: labels,
        },
        ..ReadOptions::default()
    };
    invariants::check(&[lines], &options);
});

//! Invariants tested: those of `crates/analyzer/tests/common/invariants.rs`, for CSV files.

#![no_main]

#[path = "../../crates/analyzer/tests/common/invariants.rs"]
mod invariants;

use analyzer::{Header, ReadOptions};
use libfuzzer_sys::fuzz_target;

// The first byte selects the options. A byte 0xff, which does not occur in UTF-8, ends a file.
fuzz_target!(|bytes: &[u8]| {
    let Some((how, bytes)) = bytes.split_first() else {
        return;
    };
    let files: Vec<Vec<u8>> = bytes.split(|byte| *byte == 0xff).take(4).map(<[u8]>::to_vec).collect();
    let options = ReadOptions {
        header: [Header::Auto, Header::Present, Header::Absent][usize::from(how % 3)],
        delimiter: [None, Some(b','), Some(b';')][usize::from(how / 3 % 3)],
        expected: [vec![], vec!["a".to_owned(), "b".to_owned()], vec!["_c0".to_owned()]][usize::from(how / 9 % 3)]
            .clone(),
        ..ReadOptions::default()
    };
    invariants::check(&files, &options);
});

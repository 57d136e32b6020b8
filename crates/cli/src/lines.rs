//! JSON Lines in and out: one answer per line, or an error on that line.

use crate::Exit;
use serde::Serialize;
use std::io::{self, BufRead as _, BufReader, Read, Write};

#[derive(Serialize)]
struct ErrorLine {
    error: String,
}

/// Answers each line as soon as it is read. A line longer than `max_bytes` is an error and ends the input.
pub(crate) fn answer_all<A: Serialize>(
    input: &mut dyn Read,
    out: &mut dyn Write,
    max_bytes: u64,
    answer: impl Fn(&[u8]) -> Result<A, String>,
) -> io::Result<Exit> {
    let mut exit = Exit::Done;
    let mut reader = BufReader::new(input);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut reader).take(max_bytes).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(exit);
        }
        let whole = line.ends_with(b"\n") || (read as u64) < max_bytes;
        if !whole {
            let error = format!("the line exceeds the limit of {max_bytes} bytes");
            serde_json::to_writer(&mut *out, &ErrorLine { error })?;
            writeln!(out)?;
            return Ok(Exit::Failed);
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match answer(&line) {
            Ok(answer) => serde_json::to_writer(&mut *out, &answer)?,
            Err(error) => {
                exit = Exit::Failed;
                serde_json::to_writer(&mut *out, &ErrorLine { error })?;
            }
        }
        writeln!(out)?;
    }
}

//! JSON Lines in, JSON Lines out: one answer a line, an error on the line that has none.

use crate::Exit;
use serde::Serialize;
use std::io::{self, BufRead as _, BufReader, Read, Write};

#[derive(Serialize)]
struct Refusal {
    error: String,
}

/// Answers line by line, each as soon as it is read. A line longer than the limit is refused, and ends it.
pub(crate) fn answer_all<A: Serialize>(
    input: &mut dyn Read,
    out: &mut dyn Write,
    longest: u64,
    answer: impl Fn(&[u8]) -> Result<A, String>,
) -> io::Result<Exit> {
    let mut exit = Exit::Done;
    let mut reader = BufReader::new(input);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut reader).take(longest).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(exit);
        }
        let whole = line.ends_with(b"\n") || (read as u64) < longest;
        if !whole {
            let error = format!("the line is longer than {longest} bytes");
            serde_json::to_writer(&mut *out, &Refusal { error })?;
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
                serde_json::to_writer(&mut *out, &Refusal { error })?;
            }
        }
        writeln!(out)?;
    }
}

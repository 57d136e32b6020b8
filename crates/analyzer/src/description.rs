//! Describes a file of data in one line: captured requests, ground truth, a manifest, distances, or a dataset.

use crate::{
    GroundTruth, Object, ReadOptions,
    read::{CaptureSummary, is_manifest, read},
};
use analysis::Profile;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::Cursor;

/// Maximum number of names that a description contains.
const MAX_NAMES: usize = 8;
/// Number of lines that must be JSON in a file of JSON Lines.
const PROBE_LINES: usize = 10;

/// Description of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// Format of the file, for programs.
    pub kind: &'static str,
    /// One line for people.
    pub text: String,
    /// The same facts, for programs.
    pub summary: Value,
}

/// Describes a file of data; `None` if it has another format. `name` is its name.
pub fn describe(name: &str, bytes: &[u8]) -> Option<Description> {
    let object = |name: &str| {
        let content = Cursor::new(bytes.to_vec());
        Object::stream(name, None, move || Ok(Box::new(content)))
    };
    if is_manifest(bytes) {
        return manifest(bytes);
    }
    if let Some(summary) = CaptureSummary::new(bytes) {
        return Some(captured(&summary));
    }
    let is_json = matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['));
    if is_json && let Some(description) = distances(bytes) {
        return Some(description);
    }
    if is_json && !is_json_lines(bytes) {
        return None;
    }
    if is_json && let Some(description) = ground_truth(object(name)) {
        return Some(description);
    }
    let format = if is_json { "JSON Lines" } else { "CSV" };
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    // Compressed files could unpack to any size.
    if !is_json && (!first.contains(&b',') || std::str::from_utf8(first).is_err()) {
        return None;
    }
    dataset(object(name), format)
}

/// Whether the file has several lines, of which the first ones are JSON objects.
fn is_json_lines(bytes: &[u8]) -> bool {
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let mut lines = lines.filter(|line| !line.is_empty()).take(PROBE_LINES).peekable();
    let count = lines.clone().count();
    count > 1 && lines.all(|line| line.starts_with(b"{") && serde_json::from_slice::<Value>(line).is_ok())
}

fn manifest(bytes: &[u8]) -> Option<Description> {
    let items: Vec<Value> = serde_json::from_slice(bytes).ok()?;
    let (prefix, files) = items.split_first()?;
    let prefix = prefix.get("prefix")?.as_str()?;
    Some(Description {
        kind: "manifest",
        text: format!("manifest, {} in {prefix}", text::count(files.len(), "file")),
        summary: json!({"prefix": prefix, "files": files.len()}),
    })
}

fn captured(summary: &CaptureSummary) -> Description {
    let mut parts = vec![text::count(summary.requests, "captured request")];
    if let Some((first, last)) = summary.times {
        let from = text::minute(first);
        let is_one = from == text::minute(last);
        parts.push(if is_one {
            text::time(last)
        } else {
            format!("{from} to {}", text::time(last))
        });
    }
    parts.extend(summary.encodings.iter().cloned());
    if let Some((request, response)) = summary.columns {
        parts.push(format!("{request} + {response} columns"));
    }
    if summary.labeled > 0 && summary.labeled < summary.requests {
        parts.push(format!(
            "{} without a label",
            text::integer(summary.requests - summary.labeled)
        ));
    }
    if summary.unreadable > 0 {
        parts.push(text::count(summary.unreadable, "unreadable line"));
    }
    Description {
        kind: "captured_requests",
        text: parts.join(", "),
        summary: json!({
            "requests": summary.requests,
            "first": summary.times.map(|(first, _)| first.to_string()),
            "last": summary.times.map(|(_, last)| last.to_string()),
            "encodings": summary.encodings,
            "request_columns": summary.columns.map(|(request, _)| request),
            "response_columns": summary.columns.map(|(_, response)| response),
            "labeled": summary.labeled,
            "unreadable": summary.unreadable,
        }),
    }
}

fn ground_truth(object: Object) -> Option<Description> {
    let truth = GroundTruth::read(vec![object]).ok()?;
    let (requests, labels) = truth.counts();
    if requests == 0 {
        return None;
    }
    let unreadable = truth.findings.count(crate::findings::Kind::Unreadable);
    let mut parts = vec![format!(
        "ground truth, {} for {}",
        text::count(labels, "label"),
        text::count(requests, "request")
    )];
    if unreadable > 0 {
        parts.push(text::count(unreadable, "unreadable line"));
    }
    Some(Description {
        kind: "ground_truth",
        text: parts.join(", "),
        summary: json!({"requests": requests, "labels": labels, "unreadable": unreadable}),
    })
}

/// `drift.json`, as the data quality analysis writes it.
fn distances(bytes: &[u8]) -> Option<Description> {
    #[derive(Deserialize)]
    struct Drift {
        features: Vec<Column>,
    }
    #[derive(Deserialize)]
    struct Column {
        name: String,
        drifted: bool,
    }
    let Drift { features } = serde_json::from_slice(bytes).ok()?;
    let drifted: Vec<&str> = features
        .iter()
        .filter(|column| column.drifted)
        .map(|column| column.name.as_str())
        .collect();
    let columns = text::count(features.len(), "column");
    let text = match drifted.len() {
        0 => format!("distances of {columns} from the baseline, none drifted"),
        count => format!(
            "distances of {columns} from the baseline, {count} drifted: {}",
            text::first_names(drifted.iter(), MAX_NAMES)
        ),
    };
    Some(Description {
        kind: "drift",
        text,
        summary: json!({"features": features.len(), "drifted": drifted}),
    })
}

fn dataset(object: Object, format: &str) -> Option<Description> {
    let dataset = read(vec![object], &ReadOptions::default(), Profile::default).ok()?;
    let profile = &dataset.sink;
    let columns: Vec<&str> = profile.columns().map(|(name, _)| name).collect();
    if columns.is_empty() {
        return None;
    }
    Some(Description {
        kind: "dataset",
        text: format!(
            "{format}, {}, {}: {}",
            text::count(profile.item_count(), "row"),
            text::count(columns.len(), "column"),
            text::first_names(columns.iter(), MAX_NAMES)
        ),
        summary: json!({"format": format, "item_count": profile.item_count(), "columns": columns}),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_data_are_described_in_one_line() {
        let capture = |id: usize, minute: usize, data: &str| {
            format!(
                "{{\"captureData\":{{\"endpointInput\":{{\"data\":\"{data}\",\"encoding\":\"CSV\"}},\"endpointOutput\":{{\"data\":\"1\",\
                 \"encoding\":\"CSV\"}}}},\"eventMetadata\":{{\"eventId\":\"{id}\",\"inferenceTime\":\"2026-11-23T14:{minute:02}:00Z\"}}}}\n"
            )
        };
        let label = |id: usize, data: &str| {
            format!(
                "{{\"groundTruthData\":{{\"data\":\"{data}\",\"encoding\":\"CSV\"}},\"eventMetadata\":{{\"eventId\":\"{id}\"}}}}\n"
            )
        };
        for (text, expected) in [
            (
                capture(1, 5, "1,2,3") + &capture(2, 0, "4,5,6") + "no JSON\n",
                "captured_requests: 2 captured requests, 2026-11-23 14:00 to 2026-11-23 14:05 UTC, CSV, 3 + 1 columns, 1 unreadable line",
            ),
            (
                label(1, "1") + &label(2, "0\\n1"),
                "ground_truth: ground truth, 3 labels for 2 requests",
            ),
            (
                r#"[{"prefix": "s3://bucket/a/"}, "1", "2"]"#.to_owned(),
                "manifest: manifest, 2 files in s3://bucket/a/",
            ),
            (
                r#"{"version": 0.0, "features": [{"name": "a", "drifted": true, "distance": 0.5}, {"name": "b", "drifted": false}]}"#
                    .to_owned(),
                "drift: distances of 2 columns from the baseline, 1 drifted: `a`",
            ),
            (
                "age,plan\n31,basic\n45,premium\n".to_owned(),
                "dataset: CSV, 2 rows, 2 columns: `age`, `plan`",
            ),
            (
                "{\"age\": 31}\n{\"age\": 45}\n".to_owned(),
                "dataset: JSON Lines, 2 rows, 1 column: `age`",
            ),
        ] {
            let description = describe("file", text.as_bytes()).unwrap();
            assert_eq!(format!("{}: {}", description.kind, description.text), expected);
        }
        for text in [
            "",
            "{\"a\": 1}",
            "{\n\"violations\": 5\n}",
            "{\"a\": 1}\n{",
            "words",
            "[1, 2]",
        ] {
            assert_eq!(describe("file", text.as_bytes()), None, "{text}");
        }
    }
}

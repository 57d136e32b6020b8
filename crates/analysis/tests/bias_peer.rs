//! `compute bias` and `compute bias-report` compared with smclarify 0.5 (`tests/peers/bias.py`).
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use analysis::compute::bias;
use serde_json::Value;

const TOLERANCE: f64 = 1e-12;

/// Lines as in the file, with the columns in order, and results.
fn cases(name: &str) -> Vec<(String, Value)> {
    let path = format!("{}/tests/fixtures/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let case = |line: &str| {
        let mut case: Value = serde_json::from_str(line).unwrap();
        let (start, end) = (r#"{"line":"#.len(), line.rfind(r#","answer":"#).unwrap());
        (line.get(start..end).unwrap().to_owned(), case["answer"].take())
    };
    text.lines().map(case).collect()
}

/// Difference between two values, or an error.
fn difference(ours: &Value, theirs: &Value) -> Option<f64> {
    match (ours.as_f64(), theirs.as_f64()) {
        (Some(ours), Some(theirs)) => Some((ours - theirs).abs()),
        _ => (ours == theirs).then_some(0.0),
    }
}

#[test]
fn metrics_agree_with_smclarify() {
    let (mut compared, mut failed) = (0, Vec::new());
    for (at, (line, theirs)) in cases("bias-metrics").into_iter().enumerate() {
        let ours = bias::answer(line.as_bytes()).unwrap();
        for (name, theirs) in theirs["metrics"].as_object().unwrap() {
            compared += 1;
            match difference(&ours["metrics"][name], theirs) {
                Some(difference) if difference <= TOLERANCE => {}
                _ => failed.push(format!("case {at}, {name}: {ours} instead of {theirs}")),
            }
        }
        for (name, theirs) in theirs["errors"].as_object().unwrap() {
            if !ours["errors"][name].is_string() {
                failed.push(format!("case {at}, {name}: {ours} instead of the error {theirs}"));
            }
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {compared}:\n{}",
        failed.len(),
        failed.join("\n")
    );
    assert!(compared > 2_000, "{compared}");
}

#[test]
fn reports_agree_with_smclarify() {
    let (mut compared, mut failed) = (0, Vec::new());
    for (at, (line, theirs)) in cases("bias-report").into_iter().enumerate() {
        match compare_reports(&bias::report(line.as_bytes()), &theirs) {
            Ok(values) => compared += values,
            Err(reason) => failed.push(format!("case {at}: {reason}\n{line:.400}")),
        }
    }
    assert!(failed.is_empty(), "{}:\n{}", failed.len(), failed.join("\n"));
    assert!(compared > 2_000, "{compared}");
}

fn compare_reports(ours: &Result<Value, String>, theirs: &Value) -> Result<usize, String> {
    let ours = match (ours, theirs.get("error")) {
        (Err(_), Some(_)) => return Ok(0),
        (Ok(_), Some(error)) => return Err(format!("an answer instead of the error {error}")),
        (Err(error), None) => return Err(format!("the error `{error}` instead of an answer")),
        (Ok(ours), None) => ours,
    };
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    if keys(ours) != keys(theirs) {
        return Err(format!("sections {:?} instead of {:?}", keys(ours), keys(theirs)));
    }
    let mut compared = 0;
    for (stage, theirs) in theirs.as_object().unwrap() {
        let (ours, theirs) = (ours[stage].as_array().unwrap(), theirs.as_array().unwrap());
        let names = |facets: &[Value]| {
            facets
                .iter()
                .map(|f| f["value_or_threshold"].clone())
                .collect::<Vec<_>>()
        };
        if names(ours) != names(theirs) {
            return Err(format!("facets {:?} instead of {:?}", names(ours), names(theirs)));
        }
        for (ours, theirs) in ours.iter().zip(theirs) {
            let (facet, left_out) = (&theirs["value_or_threshold"], "FT");
            let theirs = theirs["metrics"].as_array().unwrap();
            let mut ours = ours["metrics"].as_array().unwrap().iter();
            for theirs in theirs {
                let ours = ours
                    .find(|ours| ours["name"] == theirs["name"] || ours["name"] != left_out)
                    .unwrap();
                let what = || format!("{facet}: {ours} instead of {theirs}");
                if ours["name"] != theirs["name"] || ours.get("error").is_some() != theirs.get("error").is_some() {
                    return Err(what());
                }
                let difference = difference(&ours["value"], &theirs["value"]);
                difference.filter(|d| *d <= TOLERANCE).ok_or_else(what)?;
                compared += 1;
            }
        }
    }
    Ok(compared)
}

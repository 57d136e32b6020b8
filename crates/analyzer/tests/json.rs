//! JSON Lines, SageMaker's data capture, and ground truth. Problems are reported, and no value silently moves to
//! another column, is counted twice, or is lost.
#![expect(
    clippy::unwrap_used,
    clippy::format_collect,
    reason = "a test fails by panicking; texts of some rows"
)]

use crate::common;

use analysis::Profile;
use analyzer::{CaptureColumns, GroundTruth, MatchCounts, OutputColumns, ReadOptions, Table, findings::Kind, read};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::{counts, file, files, notes, shown, violations};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc};

fn lines(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// One side of a captured request.
fn side(encoding: &str, data: &str) -> Value {
    let data = if encoding == "BASE64" {
        STANDARD.encode(data)
    } else {
        data.to_owned()
    };
    json!({"observedContentType": "text/csv", "mode": "INPUT", "data": data, "encoding": encoding})
}

/// Captured request; null parts are omitted.
fn request(id: &str, input: Value, output: Value) -> Value {
    let mut data = json!({});
    for (name, side) in [("endpointInput", input), ("endpointOutput", output)] {
        if !side.is_null() {
            data.as_object_mut().unwrap().insert(name.to_owned(), side);
        }
    }
    json!({"captureData": data, "eventMetadata": {"eventId": format!("event-{id}"), "inferenceId": id}, "eventVersion": "0"})
}

fn csv(input: &str, output: &str) -> Value {
    request("i", side("CSV", input), side("CSV", output))
}

fn label(id: &str, data: &str) -> Value {
    json!({"groundTruthData": {"data": data, "encoding": "CSV"}, "eventMetadata": {"eventId": id}, "eventVersion": "0"})
}

fn expecting(columns: &[&str], output: OutputColumns) -> ReadOptions {
    ReadOptions {
        expected: columns.iter().map(ToString::to_string).collect(),
        capture: CaptureColumns {
            output,
            ..CaptureColumns::default()
        },
        ..ReadOptions::default()
    }
}

#[test]
fn invalid_lines_are_rows_without_values() {
    let text = "{\"a\": 1, \"b\": \"x\"}\n\n{\"a\": 2, \"b\":\nnull,\n{\"a\": 3, \"b\": \"\u{e9}\"}\n";
    let mut bytes = text.as_bytes().to_vec();
    bytes.extend_from_slice(b"{\"a\": 4, \"b\": \"\xff\"}\n{\"a\": 1e999, \"b\": \"y\"}\n[1, 2\n");
    let dataset = file(&bytes).read();
    assert_eq!(dataset.sink.item_count(), 7);
    assert_eq!(shown(&dataset), ["a Integral 1×1 3×1", "b String x×1 é×1"]);
    assert_eq!(counts(&dataset), [(Kind::Unreadable, 5)]);
    let reported = notes(&dataset);
    let rows: Vec<_> = reported.iter().map(|note| note.split(": ").next().unwrap()).collect();
    assert_eq!(
        rows,
        [
            "1.csv, row 2",
            "1.csv, row 3",
            "1.csv, row 5",
            "1.csv, row 6",
            "1.csv, row 7"
        ]
    );
    let baseline = file("{\"a\": 1, \"b\": \"x\"}\n{\"a\": 2, \"b\": \"x\"}\n").baseline();
    let report = file("{\"a\": 1, \"b\": \"x\"}\n{\"a\": 1, \"b\"\n").analyze(&baseline);
    assert_eq!(violations(&report), ["a completeness_check", "b completeness_check"]);
    let broken = file("{\n\n{\"a\"\n");
    assert_eq!(
        broken.error(),
        "1.csv: a record spans several lines: expected JSON Lines, one record per line"
    );
    let report = file("{\"a\"\n{\"a\": }\n").analyze(&baseline);
    assert_eq!(
        violations(&report),
        ["a missing_column_check", "b missing_column_check"]
    );
    assert_eq!(
        notes(&file("{\"a\"\n").read()),
        [
            "the dataset has no readable column: a baseline requires at least one (1.csv, row 1: the line is not valid JSON: EOF \
             while parsing an object at line 1 column 4)"
        ]
    );
}

#[test]
fn non_finite_numbers_count_as_missing() {
    let dataset = file("{\"a\": NaN, \"b\": 1}\n{\"a\": -Infinity, \"b\": 2}\n{\"a\": 0.5, \"b\": Infinity}\n").read();
    assert_eq!(shown(&dataset), ["a Fractional 0.5×1", "b Integral 1×1 2×1"]);
    assert_eq!(counts(&dataset), [(Kind::NotFinite, 3)]);
    assert_eq!(
        notes(&dataset).first().unwrap(),
        "1.csv, row 1, column `a`: `NaN` is not a finite number: it counts as missing"
    );
    // As strings, they are strings.
    let dataset = file("{\"a\": \"NaN\"}\n{\"a\": 1}\n").read();
    assert_eq!(shown(&dataset), ["a String 1×1 NaN×1"]);
}

#[test]
fn every_record_of_a_line_counts() {
    let dataset =
        file("[{\"a\": 1, \"b\": 2}, {\"a\": 3}, {\"b\": 4, \"a\": 5}]\n{\"instances\": [[6, 7], [8, 9]]}\n[]\n")
            .read();
    assert_eq!(dataset.sink.item_count(), 5);
    assert_eq!(
        shown(&dataset),
        [
            "a Integral 1×1 3×1 5×1",
            "b Integral 2×1 4×1",
            "_c0 Integral 6×1 8×1",
            "_c1 Integral 7×1 9×1"
        ]
    );
    assert_eq!(counts(&dataset), []);
    let empty = file("[]\n{\"instances\": []}\n");
    assert_eq!(empty.read().sink.item_count(), 0);
}

#[test]
fn duplicate_column_keeps_first_value() {
    let dataset = file("{\"a_b\": 1, \"a\": {\"b\": 2}}\n{\"a\": {\"b\": 3}}\n").read();
    assert_eq!(shown(&dataset), ["a_b Integral 1×1 3×1"]);
    assert_eq!(
        notes(&dataset),
        ["1.csv, row 1, column `a_b`: the record has two values for this column: the first one is used"]
    );
    let dataset = file("{\"a\": 1, \"a\": 2}\n{\"a\": 3}\n").read();
    assert_eq!(shown(&dataset), ["a Integral 3×1"]);
    let reported = notes(&dataset);
    assert!(
        reported
            .first()
            .unwrap()
            .starts_with("1.csv, row 1: the line is not readable: the key `a` occurs twice"),
        "{reported:?}"
    );
}

#[test]
fn key_order_is_ignored_and_types_may_mix() {
    let dataset = file(lines(&[
        json!({"a": 1, "b": true, "c": "5", "d": {"e": [1.5, null]}}),
        json!({"c": 5, "a": 1.0, "b": null, "f": ""}),
        json!({"d": {"e": ["x"]}, "c": "5.0"}),
    ]))
    .read();
    assert_eq!(
        shown(&dataset),
        [
            "a Fractional 1×1 1.0×1",
            "b String true×1",
            "c Fractional 5×2 5.0×1",
            "d_e_0 String 1.5×1 x×1",
            "d_e_1 Unknown ",
            "f Unknown "
        ]
    );
    let mixed = file(lines(&[json!({"a": 5}), json!({"a": "5"}), json!({"a": "x"})])).read();
    let column = mixed.sink.get("a").unwrap();
    assert!(
        (column.distinct_count() - 2.0).abs() <= 0.0,
        "5 and \"5\" are shown as the same"
    );
}

#[test]
fn table_keeps_wanted_columns_and_whole_rows() {
    let wanted: BTreeSet<String> = ["a".to_owned(), "label".to_owned()].into();
    let wanted = Some(Arc::new(wanted));
    let json: String = (0..50_000)
        .map(|row| format!("{{\"x\": {row}, \"label\": \"l{row}\", \"nested\": [1, 2], \"a\": {row}}}\n"))
        .collect();
    let csv: String = (0..50_000).map(|row| format!("{row},{row},l{row}\n")).collect();
    for text in [json, format!("x,a,label\n{csv}")] {
        let files = file(text);
        let dataset = read(files.objects(), &ReadOptions::default(), || {
            Table::with_columns(wanted.clone())
        })
        .unwrap();
        let table = &dataset.sink;
        assert_eq!(table.rows(), 50_000);
        assert_eq!(table.names().iter().collect::<BTreeSet<_>>().len(), 2);
        let (a, label) = (table.get("a").unwrap(), table.get("label").unwrap());
        let mut seen = BTreeSet::new();
        for (number, text) in a.cells().iter().zip(label.cells()) {
            let (number, text) = (a.text(*number).unwrap(), label.text(*text).unwrap());
            assert_eq!(text, format!("l{number}"));
            seen.insert(number);
        }
        assert_eq!(seen.len(), 50_000);
    }
}

#[test]
fn captured_requests_support_all_encodings() {
    let dataset = file(lines(&[
        csv("1,x\n", "0.5"),
        request("b", side("BASE64", "2,\"y,z\"\r\n"), side("BASE64", "0.25\n")),
        request(
            "c",
            side("JSON", "{\"instances\": [{\"features\": [3, \"w\"]}]}"),
            side("JSON", "{\"predictions\": [[0.125]]}"),
        ),
        request("d", side("BASE64", "[[4, \"v\"]]"), side("JSON", "[0.75]")),
    ]))
    .read();
    assert_eq!(
        shown(&dataset),
        [
            "_c0 Fractional 0.125×1 0.25×1 0.5×1 0.75×1",
            "_c1 Integral 1×1 2×1 3×1 4×1",
            "_c2 String v×1 w×1 x×1 y,z×1"
        ]
    );
    assert_eq!(
        (dataset.sink.item_count(), counts(&dataset), dataset.incomplete),
        (4, vec![], 0)
    );
}

#[test]
fn invalid_captured_requests_are_reported() {
    let unknown = json!({"data": "1", "encoding": "XML"});
    let broken = json!({"data": "*", "encoding": "BASE64", "observedContentType": "text/csv"});
    let image =
        json!({"data": STANDARD.encode([0xff, 0xd8, 0xff]), "encoding": "BASE64", "observedContentType": "image/jpeg"});
    let text = lines(&[
        csv("1,2", "3"),
        csv("1,\"2", "3"),
        csv("1\n2\n3", "4\n5"),
        request("a", unknown, side("CSV", "1")),
        request("b", side("CSV", "1"), broken),
        request("c", image, side("CSV", "1")),
        request("d", side("JSON", "{\"a\": "), side("CSV", "1")),
        json!({"captureData": 5}),
        request("e", Value::Null, Value::Null),
        request("f", side("CSV", ""), side("CSV", "\n")),
    ]);
    // The first line is truncated.
    let dataset = file(format!("{{\"captureData\": {{\n\n{text}")).read();
    assert_eq!(counts(&dataset), [(Kind::Unreadable, 8)]);
    assert_eq!((dataset.sink.item_count(), dataset.incomplete), (9, 2));
    assert_eq!(
        shown(&dataset),
        ["_c0 Integral 3×1", "_c1 Integral 1×1", "_c2 Integral 2×1"]
    );
    let reported = notes(&dataset);
    assert_eq!(reported.len(), 7, "{reported:?}");
    assert_eq!(
        reported.get(1).unwrap(),
        "1.csv, row 3: endpointInput: a quoted cell has no closing quote"
    );
    assert_eq!(
        reported.get(2).unwrap(),
        "1.csv, row 4: the request has 3 records, the response 2: expected equal numbers"
    );
    assert_eq!(
        reported.get(3).unwrap(),
        "1.csv, row 5: endpointInput: unsupported encoding `XML`: expected CSV, JSON, or BASE64"
    );
    assert_eq!(
        reported.get(5).unwrap(),
        "in total, 8 rows are unreadable and count as rows without values"
    );
    assert_eq!(
        reported.get(6).unwrap(),
        "captured requests without data or without a label, ignored: 2"
    );
}

#[test]
fn findings_name_line_of_multi_record_request() {
    let dataset = file(lines(&[csv("1\n2\n3", "1\n2\n3"), csv("4\n1e999", "4\n5")])).read();
    assert_eq!(dataset.sink.item_count(), 5);
    assert_eq!(
        shown(&dataset),
        ["_c0 Integral 1×1 2×1 3×1 4×1 5×1", "_c1 Integral 1×1 2×1 3×1 4×1"]
    );
    assert_eq!(
        notes(&dataset),
        ["1.csv, row 2, column `_c1`: `1e999` is not a finite number: it counts as missing"]
    );
}

#[test]
fn missing_side_leaves_its_columns_empty() {
    let both = csv("1,2", "9");
    let input = request("a", side("CSV", "3,4"), Value::Null);
    let output = request("b", Value::Null, side("CSV", "8"));
    let all = lines(&[both.clone(), input.clone(), output.clone()]);
    for (columns, position) in [
        (["p", "x", "y"], OutputColumns::Start),
        (["x", "y", "p"], OutputColumns::End),
    ] {
        let mut found = shown(&file(&all).read_with(&expecting(&columns, position)));
        found.sort();
        assert_eq!(
            found,
            ["p Integral 8×1 9×1", "x Integral 1×1 3×1", "y Integral 2×1 4×1"],
            "{position:?}"
        );
    }
    // Only requests are captured, so the baseline has only their columns.
    let inputs = lines(&[input.clone(), input.clone()]);
    let dataset = file(&inputs).read_with(&expecting(&["x", "y"], OutputColumns::Start));
    assert_eq!(shown(&dataset), ["x Integral 3×2", "y Integral 4×2"]);
    assert_eq!(shown(&file(&inputs).read()), ["_c0 Integral 3×2", "_c1 Integral 4×2"]);
    // Without a baseline, the columns are unknown.
    let dataset = file(&all).read();
    assert_eq!(
        shown(&dataset),
        ["_c0 Integral 8×1 9×1", "_c1 Integral 1×1", "_c2 Integral 2×1"]
    );
    assert_eq!(
        notes(&dataset),
        [
            "1.csv, row 2: only the request or only the response was captured, but other lines have both: the columns \
          are ambiguous"
        ]
    );
    // Unless the columns have names.
    let named = request("c", side("JSON", "{\"x\": 5, \"y\": 6}"), Value::Null);
    let dataset = file(lines(&[both, named])).read();
    assert_eq!(counts(&dataset), []);
}

#[test]
fn named_columns_precede_unnamed_columns() {
    let request = request(
        "a",
        side("CSV", "1,2"),
        side("JSON", "{\"label\": 1, \"output:score\": 0.5}"),
    );
    let columns = expecting(&["label", "output:score", "x", "y"], OutputColumns::Start);
    let dataset = file(lines(&[request])).read_with(&columns);
    assert_eq!(
        shown(&dataset),
        [
            "label Integral 1×1",
            "output:score Fractional 0.5×1",
            "x Integral 1×1",
            "y Integral 2×1"
        ]
    );
    assert_eq!(counts(&dataset), []);
}

fn with_labels(truth: &Arc<GroundTruth>) -> ReadOptions {
    ReadOptions {
        capture: CaptureColumns {
            ground_truth: Some(Arc::clone(truth)),
            ..CaptureColumns::default()
        },
        ..ReadOptions::default()
    }
}

#[test]
fn late_missing_repeated_and_invalid_labels() {
    let labels = files([
        lines(&[label("a", "1"), label("b", "0"), label("b", "1"), label("b", "0")]),
        String::new(),
        lines(&[
            label("d", "1\n0"),
            label("unused", "1"),
            label("two", "1,0"),
            json!({"groundTruthData": {}}),
        ]) + "{\n",
        lines(&[
            json!({"groundTruthData": {"data": "{\"label\": 1}", "encoding": "JSON"}, "eventMetadata": {"eventId": "event-e"}}),
        ]),
        lines(&[label("nothing", "")]),
    ]);
    let truth = Arc::new(GroundTruth::read(labels.objects()).unwrap());
    assert_eq!((truth.repeated, truth.findings.count(Kind::Unreadable)), (2, 2));
    let reported = truth.findings.lines();
    assert!(
        reported
            .get(1)
            .unwrap()
            .starts_with("3.csv, row 5: not a ground truth record: "),
        "{reported:?}"
    );
    let requests = |id: &str, input: &str, output: &str| request(id, side("CSV", input), side("CSV", output));
    let mut without_id = requests("e", "5,5", "0.5");
    without_id
        .get_mut("eventMetadata")
        .unwrap()
        .as_object_mut()
        .unwrap()
        .remove("inferenceId");
    let captured = file(lines(&[
        requests("a", "1,1", "0.9"),
        requests("b", "2,2", "0.2"),
        requests("a", "1,1", "0.9"),
        requests("c", "3,3", "0.3"),
        requests("d", "4,4\n6,6", "0.4\n0.6"),
        requests("nothing", "7,7", "0.7"),
        requests("d", "8,8", "0.8"),
        without_id,
    ]));
    let dataset = read(captured.objects(), &with_labels(&truth), Profile::default).unwrap();
    assert_eq!(dataset.sink.item_count(), 6);
    assert_eq!(
        shown(&dataset),
        [
            "output:0 Fractional 0.2×1 0.4×1 0.5×1 0.6×1 0.9×2",
            "label Integral 0×2 1×4",
            "_c0 Integral 1×2 2×1 4×1 5×1 6×1",
            "_c1 Integral 1×2 2×1 4×1 5×1 6×1"
        ]
    );
    assert_eq!(dataset.incomplete, 2);
    assert_eq!(counts(&dataset), [(Kind::Unreadable, 1)]);
    assert_eq!(
        dataset.findings.lines(),
        ["1.csv, row 7: the request has 1 record, the response 1, the labels 2: expected equal numbers"]
    );
    assert_eq!(
        truth.merged(),
        MatchCounts {
            matched: 7,
            unlabeled: 1,
            unused: 2
        }
    );
}

#[test]
fn merged_files_contain_labels() {
    let merged = |input: &str, output: &str, label: &str| {
        let mut line = csv(input, output);
        let data = json!({"data": label, "encoding": "CSV"});
        line.as_object_mut().unwrap().insert("groundTruthData".to_owned(), data);
        line
    };
    let mut batch = merged("", "0.25", "0");
    let data = batch.get_mut("captureData").unwrap().as_object_mut().unwrap();
    let output = data.remove("endpointOutput").unwrap();
    data.remove("endpointInput");
    data.insert("batchTransformOutput".to_owned(), output);
    let text = lines(&[
        merged("1,2", "0.5", "1"),
        batch,
        merged("3,4", "0.75", ""),
        merged("5,6", "0.125", "1,0"),
    ]);
    let dataset = file(text).read();
    assert_eq!(
        shown(&dataset),
        [
            "output:0 Fractional 0.25×1 0.5×1",
            "label Integral 0×1 1×1",
            "_c0 Integral 1×1",
            "_c1 Integral 2×1"
        ]
    );
    assert_eq!((counts(&dataset), dataset.incomplete), (vec![(Kind::Unreadable, 1)], 1));
}

/// Captured request in the encoding that its sides require.
fn message(input: &str, output: &str) -> Value {
    let of = |text: &str| {
        let is_json = text.starts_with(['[', '{']);
        side(if is_json { "JSON" } else { "CSV" }, text)
    };
    request("i", of(input), of(output))
}

const COLUMNS: [&str; 3] = ["p", "age", "income"];
const ROWS: [&str; 3] = [
    "p Integral 0×1 1×2",
    "age Integral 30×1 40×1 50×1",
    "income Fractional 1.5×1 2.5×1 3.5×1",
];

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

#[test]
fn requests_of_all_frameworks_give_same_rows() {
    let expected = sorted(ROWS.map(str::to_owned).to_vec());
    let requests = [
        "30,1.5\n40,2.5\n50,3.5\n",
        "age,income\n30,1.5\n40,2.5\n50,3.5\n",
        "[[30, 1.5], [40, 2.5], [50, 3.5]]",
        "{\"features\": [30, 1.5]}\n{\"features\": [40, 2.5]}\n{\"features\": [50, 3.5]}",
        r#"{"instances": [{"features": [30, 1.5]}, {"features": [40, 2.5]}, {"features": [50, 3.5]}]}"#,
        r#"{"signature_name": "serving_default", "instances": [[30, 1.5], [40, 2.5], [50, 3.5]]}"#,
        r#"{"inputs": {"age": [30, 40, 50], "income": [1.5, 2.5, 3.5]}}"#,
        r#"{"dataframe_split": {"columns": ["age", "income"], "data": [[30, 1.5], [40, 2.5], [50, 3.5]]}, "params": {"n": 1}}"#,
        r#"{"dataframe_records": [{"age": 30, "income": 1.5}, {"age": 40, "income": 2.5}, {"age": 50, "income": 3.5}]}"#,
        r#"{"age": [30, 40, 50], "income": [1.5, 2.5, 3.5]}"#,
        r#"{" age": [30, 40, 50], "income ": [1.5, 2.5, 3.5]}"#,
        r#"{"age": {"0": 30, "1": 40, "2": 50}, "income": {"0": 1.5, "1": 2.5, "2": 3.5}}"#,
        r#"{"0": {"age": 30, "income": 1.5}, "1": {"age": 40, "income": 2.5}, "2": {"age": 50, "income": 3.5}}"#,
        r#"{"inputs": [{"name": "x", "shape": [3, 2], "datatype": "FP64", "data": [30, 1.5, 40, 2.5, 50, 3.5]}]}"#,
    ];
    let responses = [
        "0\n1\n1\n",
        "0,1,1",
        "[0, 1, 1]",
        "[[0], [1], [1]]",
        r#"{"predictions": [0, 1, 1]}"#,
        r#"{"predictions": [{"p": 0}, {"p": 1}, {"p": 1}]}"#,
        r#"{"outputs": {"p": [0, 1, 1]}}"#,
        r#"{"p": [0, 1, 1], "model": "m"}"#,
        r#"{"model_name": "m", "outputs": [{"name": "y", "shape": [3], "datatype": "INT64", "data": [0, 1, 1]}]}"#,
        "{\"p\": 0}\n{\"p\": 1}\n{\"p\": 1}",
    ];
    for input in requests {
        for output in responses {
            let dataset = file(lines(&[message(input, output)])).read_with(&expecting(&COLUMNS, OutputColumns::Start));
            assert_eq!(sorted(shown(&dataset)), expected, "{input} {output}");
            assert_eq!(counts(&dataset), [], "{input} {output}");
        }
    }
}

#[test]
fn files_in_envelopes_give_same_rows() {
    let expected = sorted(ROWS.map(str::to_owned).to_vec());
    for text in [
        "[0, 30, 1.5]\n[1, 40, 2.5]\n[1, 50, 3.5]\n",
        "[[0, 30, 1.5], [1, 40, 2.5], [1, 50, 3.5]]\n",
        "{\"p\": [0, 1, 1], \"age\": [30, 40, 50], \"income\": [1.5, 2.5, 3.5]}\n",
        "{\"columns\": [\"p\", \"age\", \"income\"], \"data\": [[0, 30, 1.5], [1, 40, 2.5], [1, 50, 3.5]]}\n",
        "{\"p \": 0, \" age\": 30, \"income\": 1.5}\n[{\"p\": 1, \"age\": 40, \"income\": 2.5}, {\"p\": 1, \"age\": 50, \"income\": 3.5}]\n",
    ] {
        let dataset = file(text).read_with(&expecting(&COLUMNS, OutputColumns::Start));
        assert_eq!(sorted(shown(&dataset)), expected, "{text}");
    }
}

#[test]
fn unequal_records_are_refused_with_their_numbers() {
    for (output, found) in [("0,1,1", "1"), ("[0, 1]", "1 or 2"), (r#"{"error": "busy"}"#, "1")] {
        let dataset = file(lines(&[message("1,2\n3,4\n5,6\n", output), message("1,2", "0")])).read();
        let expected = format!("the request has 3 records, the response {found}: expected equal numbers");
        assert_eq!(dataset.findings.lines(), [format!("1.csv, row 1: {expected}")]);
    }
}

#[test]
fn lists_of_equal_length_are_reported() {
    let dataset = file(lines(&[
        message("[1, 2]", "[0.25, 0.75]"),
        message("[3, 4]", "[0.5, 0.5]"),
    ]))
    .read();
    assert_eq!(dataset.sink.item_count(), 2);
    assert_eq!(counts(&dataset), [(Kind::Ambiguous, 1)]);
    // The columns of the baseline decide.
    let dataset =
        file(lines(&[message("[1, 2]", "[0.25, 0.75]")])).read_with(&expecting(&["p", "x"], OutputColumns::Start));
    assert_eq!(shown(&dataset), ["p Fractional 0.25×1 0.75×1", "x Integral 1×1 2×1"]);
    assert_eq!(counts(&dataset), []);
}

#[test]
fn sparse_records_are_refused() {
    let sparse = r#"{"data": {"features": {"keys": [0, 3], "shape": [5], "values": [1, 2]}}}"#;
    let dataset = file(lines(&[message("1,2", "0"), message(sparse, "0")])).read();
    let found = dataset.findings.lines();
    let expected =
        "1.csv, row 2: endpointInput: not readable: sparse records (`keys`, `shape`, `values`) are not supported";
    assert!(found.first().unwrap().starts_with(expected), "{found:?}");
}

#[test]
fn manifests_are_refused_by_name() {
    let expected = "1.csv: this is a manifest, which lists the files of a dataset\nhint: pass the files, or the folder that contains them";
    for text in [
        "[{\"prefix\": \"s3://bucket/capture/\"}, \"a.jsonl\", \"b.jsonl\"]\n",
        "[\n  {\"prefix\": \"s3://bucket/capture/\"},\n  \"a.jsonl\"\n]\n",
    ] {
        assert_eq!(file(text).error(), expected);
        let error = GroundTruth::read(file(text).objects()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let data = file("[{\"prefix\": \"Mr\", \"age\": 5}]\n").read();
    assert_eq!(data.sink.item_count(), 1);
}

#[test]
fn labels_are_read_in_all_forms() {
    let label = |id: Value, data: Value, encoding: &str| json!({"groundTruthData": {"data": data, "encoding": encoding}, "eventMetadata": {"eventId": id}});
    let two = json!("two");
    for (data, encoding) in [
        (json!("1\n0\n"), "CSV"),
        (json!("label\n1\n0\n"), "CSV"),
        (json!("1,0"), "CSV"),
        (json!("[1, 0]"), "JSON"),
        (json!("{\"label\": [1, 0]}"), "JSON"),
        (json!("[{\"label\": 1}, {\"label\": 0}]"), "JSON"),
        (json!("{\"label\": 1}\n{\"label\": 0}"), "JSON"),
        (json!(STANDARD.encode("1\n0")), "BASE64"),
        (json!(STANDARD.encode("[1, 0]")), "base64"),
        (json!([1, 0]), "JSON"),
    ] {
        let truth = GroundTruth::read(file(lines(&[label(two.clone(), data.clone(), encoding)])).objects()).unwrap();
        let captured = file(lines(&[request(
            "two",
            side("CSV", "1,2\n3,4"),
            side("CSV", "0.5\n0.25"),
        )]));
        let dataset = captured.read_with(&with_labels(&Arc::new(truth)));
        let labels = shown(&dataset);
        assert!(
            labels.contains(&"label Integral 0×1 1×1".to_owned()),
            "{data}: {labels:?}"
        );
    }
}

#[test]
fn ids_of_any_type_match_and_unreadable_labels_count() {
    let label = |id: Value, data: Value| json!({"groundTruthData": {"data": data, "encoding": "CSV"}, "eventMetadata": {"eventId": id}});
    let labels = [
        label(json!(1), json!(1)),
        label(json!(2.0), json!(0.5)),
        label(json!(true), json!(false)),
        label(json!("x"), json!("1,2\n3,4")),
        label(json!([1]), json!(1)),
        label(json!("none"), json!(null)),
        json!({"groundTruthData": {"data": "1", "encoding": "XML"}, "eventMetadata": {"eventId": "y"}}),
        // A list of records on one line.
        json!([
            label(json!("a"), json!(1)),
            label(json!("b"), json!("*,\"")),
            label(json!("c"), json!(1))
        ]),
    ];
    let truth = Arc::new(GroundTruth::read(file(lines(&labels)).objects()).unwrap());
    let found = truth.findings.lines();
    assert_eq!(truth.findings.count(Kind::Unreadable), 5, "{found:?}");
    let ids = ["1", "2", "true", "a", "b", "c", "x"];
    let captured = ids.map(|id| request(id, side("CSV", "7"), side("CSV", "0.5")));
    let dataset = file(lines(&captured)).read_with(&with_labels(&truth));
    assert_eq!((dataset.sink.item_count(), dataset.incomplete), (5, 2));
    assert_eq!(counts(&dataset), []);
    let pretty = serde_json::to_string_pretty(&labels).unwrap();
    let truth = GroundTruth::read(file(pretty).objects()).unwrap();
    assert_eq!(
        truth.findings.lines(),
        ["1.csv: a record spans several lines: expected JSON Lines, one record per line"]
    );
}

#[test]
fn transform_output_is_matched_with_labels() {
    let row = |id: &str, label: i64| json!({"features": [1.5, 2], "SageMakerOutput": {"predicted_label": label}, "SageMakerInferenceId": id});
    let labels = file(lines(&[label("a", "1"), label("b", "0\n1")]));
    let truth = Arc::new(GroundTruth::read(labels.objects()).unwrap());
    let output = file(lines(&[row("a", 1), row("b", 0), row("late", 0)]));
    let dataset = output.read_with(&with_labels(&truth));
    assert_eq!((dataset.sink.item_count(), dataset.incomplete), (1, 2));
    let columns = shown(&dataset);
    assert!(columns.contains(&"label Integral 1×1".to_owned()), "{columns:?}");
    assert!(
        columns.contains(&"SageMakerOutput_predicted_label Integral 1×1".to_owned()),
        "{columns:?}"
    );
}

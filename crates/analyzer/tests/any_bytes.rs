//! Any bytes give a dataset or an error; see `common/invariants.rs` for the invariants.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "common/invariants.rs"]
mod invariants;

use analyzer::{CaptureColumns, Header, OutputColumns, ReadOptions};
use flate2::{Compression, write::GzEncoder};
use invariants::{check, profile};
use parquet::{
    basic::{Compression as Codec, GzipLevel, ZstdLevel},
    data_type::{ByteArrayType, DoubleType, Int64Type},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use proptest::prelude::*;
use std::{io::Write as _, sync::Arc};

fn options() -> impl Strategy<Value = ReadOptions> {
    (
        prop_oneof![Just(Header::Auto), Just(Header::Present), Just(Header::Absent)],
        prop::option::of(prop_oneof![Just(b','), Just(b';'), Just(b'\t')]),
        prop::collection::vec("[abc]|_c[0-2]", 0..4),
        any::<[bool; 2]>(),
    )
        .prop_map(|(header, delimiter, expected, [start, predictions])| ReadOptions {
            header,
            delimiter,
            expected,
            capture: CaptureColumns {
                output: if start {
                    OutputColumns::Start
                } else {
                    OutputColumns::End
                },
                predictions,
                ..CaptureColumns::default()
            },
        })
}

/// Bytes with some of them changed.
fn changed(bytes: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    (
        Just(bytes),
        changes,
        prop::option::weighted(0.2, any::<prop::sample::Index>()),
    )
        .prop_map(|(mut bytes, changes, cut)| {
            for (at, byte) in changes {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    *bytes.get_mut(at).unwrap() = byte;
                }
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len() + 1));
            }
            bytes
        })
}

fn csv() -> impl Strategy<Value = Vec<u8>> {
    let cell = prop_oneof![
        4 => "[0-9]{1,2}",
        2 => "[abc]",
        1 => "\"([a\n,]|\"\")?\"",
        1 => r"(-?[0-9]\.[0-9]|1e999|NaN|true| )",
        1 => "[\"a,;\t]{0,3}",
        1 => Just(String::new()),
    ];
    let row = prop::collection::vec(cell, 0..4).prop_map(|cells| cells.join(","));
    let rows = prop::collection::vec((row, prop_oneof![Just("\n"), Just("\r\n"), Just("\n\n")]), 0..12);
    rows.prop_map(|rows| {
        rows.into_iter()
            .flat_map(|(row, end)| [row, end.to_owned()])
            .collect::<String>()
            .into_bytes()
    })
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("NaN".to_owned()),
        "-?[0-9]{1,3}(\\.[0-9])?(e[0-9]{1,3})?",
        "\"[ab0-9\\\\\"]{0,3}\"",
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(("[ab]|instances|predictions", inner), 0..4).prop_map(|entries| {
                let entries = entries.into_iter().map(|(key, value)| format!("\"{key}\": {value}"));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
            }),
        ]
    })
}

fn json_lines() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(json(), 0..8).prop_map(|lines| format!("{{}}\n{}", lines.join("\n")).into_bytes())
}

fn capture() -> impl Strategy<Value = Vec<u8>> {
    let data = prop_oneof![
        "[0-9a,\n\"]{0,8}".prop_map(|data| ("CSV", data)),
        json().prop_map(|data| ("JSON", data)),
        prop_oneof![Just("MSwyCg=="), Just("W1sxLCAyXV0="), Just("/9j/"), Just("*")]
            .prop_map(|data| ("BASE64", data.to_owned())),
        Just(("", String::new())),
    ];
    let side = |name: &'static str| {
        let side = data.clone().prop_map(move |(encoding, data)| {
            let side = serde_json::json!({"data": data, "encoding": encoding});
            format!("\"{name}\": {side}")
        });
        prop::option::weighted(0.8, side)
    };
    let truth = prop::option::weighted(0.2, "[01]{0,2}(\n[01])?");
    let line = (side("endpointInput"), side("endpointOutput"), truth).prop_map(|(input, output, truth)| {
        let sides: Vec<String> = input.into_iter().chain(output).collect();
        let truth = truth.map(|data| {
            format!(
                ", \"groundTruthData\": {}",
                serde_json::json!({"data": data, "encoding": "CSV"})
            )
        });
        format!(
            "{{\"captureData\": {{{}}}{}}}\n",
            sides.join(", "),
            truth.unwrap_or_default()
        )
    });
    prop::collection::vec(line, 1..8).prop_map(|lines| lines.concat().into_bytes())
}

fn parquet(rows: usize, codec: Codec, dictionary: bool) -> Vec<u8> {
    let schema = "message m { required int64 n; optional double d; optional binary t (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder()
        .set_compression(codec)
        .set_dictionary_enabled(dictionary);
    let mut written = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut written, schema, Arc::new(properties.build())).unwrap();
    for group in 0..2i64 {
        let mut of_group = writer.next_row_group().unwrap();
        let numbers: Vec<i64> = (0..).take(rows).map(|row| group * 1000 + row).collect();
        let levels: Vec<i16> = numbers.iter().map(|number| i16::from(number % 3 != 0)).collect();
        let there: Vec<i64> = numbers.iter().copied().filter(|number| number % 3 != 0).collect();
        let mut column = of_group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&numbers, None, None).unwrap();
        column.close().unwrap();
        let mut column = of_group.next_column().unwrap().unwrap();
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let doubles: Vec<f64> = there.iter().map(|number| *number as f64 / 8.0).collect();
        column
            .typed::<DoubleType>()
            .write_batch(&doubles, Some(&levels), None)
            .unwrap();
        column.close().unwrap();
        let mut column = of_group.next_column().unwrap().unwrap();
        let texts: Vec<_> = there
            .iter()
            .map(|number| format!("t{}", number % 4).as_str().into())
            .collect();
        column
            .typed::<ByteArrayType>()
            .write_batch(&texts, Some(&levels), None)
            .unwrap();
        column.close().unwrap();
        of_group.close().unwrap();
    }
    writer.close().unwrap();
    written
}

fn parquets() -> impl Strategy<Value = Vec<u8>> {
    let codecs = prop_oneof![
        2 => Just(Codec::UNCOMPRESSED),
        1 => Just(Codec::SNAPPY),
        1 => Just(Codec::LZ4_RAW),
        1 => Just(Codec::GZIP(GzipLevel::default())),
        1 => Just(Codec::ZSTD(ZstdLevel::default())),
    ];
    (0usize..40, codecs, any::<bool>()).prop_map(|(rows, codec, dictionary)| parquet(rows, codec, dictionary))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), options in options()) {
        check(&[bytes], &options);
    }

    #[test]
    fn corrupted_csv(files in prop::collection::vec(csv().prop_flat_map(changed), 1..4), options in options()) {
        check(&files, &options);
    }

    #[test]
    fn corrupted_json_lines(files in prop::collection::vec(json_lines().prop_flat_map(changed), 1..3), options in options()) {
        check(&files, &options);
    }

    #[test]
    fn corrupted_captured_data(files in prop::collection::vec(capture().prop_flat_map(changed), 1..3), options in options()) {
        check(&files, &options);
    }

    #[test]
    fn corrupted_parquet(bytes in parquets().prop_flat_map(changed), options in options()) {
        check(&[bytes], &options);
    }

    /// The rows are those that the csv crate finds, in any compression.
    #[test]
    fn rows_are_counted_once(text in "([0-9ab ]{0,2},?){1,4}(\r?\n(([0-9ab]{1,2}|\"[a,\"\n]{0,2}\"),?){0,4}){0,20}") {
        let options = ReadOptions { header: Header::Absent, delimiter: Some(b','), ..ReadOptions::default() };
        if let Ok(dataset) = profile(&[text.clone().into_bytes()], &options) {
            let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
            let rows = if text.trim_matches([' ', '\r', '\n']).is_empty() { 0 } else { reader.byte_records().count() };
            prop_assert_eq!(dataset.sink.item_count(), rows as u64);
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            let packed = profile(&[encoder.finish().unwrap()], &options).unwrap();
            prop_assert_eq!(packed.sink.item_count(), rows as u64);
            let twice = profile(&[text.clone().into_bytes(), text.into_bytes()], &options).unwrap();
            prop_assert_eq!(twice.sink.item_count(), 2 * rows as u64);
            for (name, column) in dataset.sink.columns() {
                prop_assert_eq!(twice.sink.get(name).unwrap().present(), 2 * column.present());
            }
        }
    }
}

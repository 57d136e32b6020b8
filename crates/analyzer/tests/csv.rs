//! CSV files as they occur in practice: ragged, with invalid quotes, with and without headers. Problems are reported
//! with file, row, and column, and no value silently moves to another column, is counted twice, or is lost.
#![expect(
    clippy::unwrap_used,
    clippy::format_collect,
    reason = "a test fails by panicking; texts of some rows"
)]

use crate::common;

use analysis::Class;
use analyzer::{Header, Outcome, ReadOptions, findings::Kind};
use common::{counts, file, files, notes, shown, violations};
use flate2::{Compression, write::GzEncoder};
use std::{fmt::Write as _, io::Write as _};

fn with(header: Header) -> ReadOptions {
    ReadOptions {
        header,
        ..ReadOptions::default()
    }
}

fn expecting(columns: &[&str]) -> ReadOptions {
    ReadOptions {
        expected: columns.iter().map(ToString::to_string).collect(),
        ..ReadOptions::default()
    }
}

/// This number of rows with two numbers and a string.
fn rows(count: u32) -> String {
    (0..count)
        .map(|row| format!("{row},{}.5,t{}\n", row % 7, row % 3))
        .collect()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn short_rows_miss_last_cells() {
    let baseline = file("a,b,c\n1,2,x\n3,4,x\n").baseline();
    let dataset = file("a,b,c\n1,2,x\n\n3\n5,6\n").read();
    assert_eq!(
        shown(&dataset),
        ["a Integral 1×1 3×1 5×1", "b Integral 2×1 6×1", "c String x×1"]
    );
    assert_eq!(
        notes(&dataset),
        [
            "1.csv, row 3, column `b`: expected 3 cells, found 1: this column and those after it count as missing",
            "1.csv, row 4, column `c`: expected 3 cells, found 2: this column and those after it count as missing",
        ]
    );
    let report = file("a,b,c\n1,2,x\n\n3\n5,6\n").analyze(&baseline);
    assert_eq!(report.item_count, 3);
    assert_eq!(violations(&report), ["b completeness_check", "c completeness_check"]);
}

#[test]
fn cells_beyond_columns_are_extra_columns() {
    let baseline = file("a,b\n1,2\n3,4\n").baseline();
    let report = file("a,b\n1,2\n3,4,5\n6,7,\n").analyze(&baseline);
    assert_eq!(violations(&report), ["Extra columns extra_column_check"]);
    assert_eq!(
        report.notes,
        [
            "1.csv, row 3, column `b`: expected 2 cells, found 3: those after this column are ignored",
            "1.csv, row 4, column `b`: expected 2 cells, found 3: those after this column are ignored",
        ]
    );
}

#[test]
fn million_ragged_rows_report_few_and_count_rest() {
    let mut text = "a,b\n".to_owned();
    text.push_str(&"1\n1,2,3\n".repeat(500_000));
    let dataset = file(&text).read();
    assert_eq!(counts(&dataset), [(Kind::ShortRow, 500_000), (Kind::LongRow, 500_000)]);
    let notes = notes(&dataset);
    assert_eq!(notes.len(), 12, "{notes:?}");
    assert!(notes.first().unwrap().starts_with("1.csv, row 2, column `b`: "));
    assert!(notes.get(4).unwrap().starts_with("1.csv, row 10, column `b`: "));
    assert_eq!(notes.get(5).unwrap(), "in total, 500000 rows have too few cells");
    assert_eq!(notes.get(11).unwrap(), "in total, 500000 rows have too many cells");
}

#[test]
fn row_number_is_right_far_into_file() {
    let mut text = format!("a,b,c\n{}", rows(300_000));
    text.push_str("1,2\n");
    text.push_str(&rows(10));
    let expected = "1.csv, row 300002, column `c`: ";
    let reported = notes(&file(&text).read());
    assert!(reported.first().unwrap().starts_with(expected), "{reported:?}");
    // Also after another file, and with gzip.
    let dataset = files([b"a,b,c\n1,2,x\n".to_vec(), gzip(text.as_bytes())].iter()).read();
    let reported = notes(&dataset);
    assert!(
        reported.first().unwrap().starts_with("2.csv, row 300002, column `c`: "),
        "{reported:?}"
    );
    assert_eq!(dataset.sink.item_count(), 300_012);
}

#[test]
fn open_quote_error_names_file_and_row() {
    let error = file("a,b\n1,x\n\n2,\"y\n3,z\n").error();
    assert_eq!(
        error,
        "1.csv, row 3: a quoted cell that begins in this row has no closing quote"
    );
    let error = files(["a,b\n1,2\n", "a,b\n1,2\n3,\"4\n"]).error();
    assert_eq!(
        error,
        "2.csv, row 3: a quoted cell that begins in this row has no closing quote"
    );
    assert_eq!(
        file("a,\"b\n1,2\n").error(),
        "1.csv, row 1: a quoted cell that begins in this row has no closing quote"
    );
    // Megabytes into the file.
    let text = format!("a,b,c\n{}7,\"open,x\n{}", rows(300_000), rows(10));
    assert_eq!(
        file(text).error(),
        "1.csv, row 300002: a quoted cell that begins in this row has no closing quote"
    );
    // Beyond the maximum length of a row.
    let text = format!("a,b,c\n1,2,x\n7,\"open,x\n{}", rows(6_000_000));
    assert_eq!(
        file(text).error(),
        "1.csv, row 3: the row is longer than 64 MiB: check for a missing closing quote"
    );
}

#[test]
fn text_after_closing_quote_is_reported_with_row() {
    let dataset = file("a,b\n1,x\n\"2\"0,\"say \"hi\"\"\n3,5\" x 3\"\n").read();
    assert_eq!(dataset.sink.item_count(), 3);
    assert_eq!(counts(&dataset), [(Kind::StrayQuote, 2)]);
    let reported = notes(&dataset);
    let expected = "1.csv, row 3: a quoted cell continues after its closing quote: quotes within a cell must be \
                    doubled";
    assert_eq!(reported, [expected, expected]);
    assert_eq!(
        shown(&dataset),
        ["a Integral 1×1 20×1 3×1", "b String 5\" x 3\"×1 say hi\"\"×1 x×1"]
    );
    let dataset = file("\"a\"x,b\n1,2\n").read();
    assert_eq!(
        notes(&dataset),
        ["1.csv, row 1: a quoted cell continues after its closing quote: quotes within a cell must be doubled"]
    );
    assert_eq!(shown(&dataset), ["ax Integral 1×1", "b Integral 2×1"]);
}

#[test]
fn quoted_cells_contain_line_feeds_commas_and_quotes() {
    let dataset = file("a,b\r\n\"1\r\n2\",\"x,\"\"y\"\"\"\r\n\"\",\"\"\r\n3,\r\n").read();
    assert_eq!(counts(&dataset), []);
    assert_eq!(dataset.sink.item_count(), 3);
    assert_eq!(shown(&dataset), ["a String 1\r\n2×1 3×1", "b String x,\"y\"×1"]);
}

#[test]
fn invalid_utf8_is_string_and_reported_each_time() {
    let dataset = file(b"city,n\nK\xf6ln,1\nBonn,2\nK\xf6ln,3\n").read();
    assert_eq!(counts(&dataset), [(Kind::NotUtf8, 2)]);
    assert_eq!(
        notes(&dataset),
        [
            "1.csv, row 2, column `city`: `K\u{fffd}ln` is not valid UTF-8: it counts as a string",
            "1.csv, row 4, column `city`: `K\u{fffd}ln` is not valid UTF-8: it counts as a string",
        ]
    );
    assert_eq!(
        shown(&dataset),
        ["city String Bonn×1 K\u{fffd}ln×2", "n Integral 1×1 2×1 3×1"]
    );
    let dataset = file(b"stra\xdfe,n\nx,1\n").read();
    assert_eq!(
        notes(&dataset),
        ["1.csv, row 1, column `stra\u{fffd}e`: the column name is not valid UTF-8"]
    );
    let error = file(b"\xff\xfea\x00,\x00b\x00\n\x001\x00").error();
    assert_eq!(
        error,
        "failed to read 1.csv: UTF-16 is not supported: convert the file to UTF-8"
    );
}

#[test]
fn added_removed_renamed_and_moved_columns() {
    let baseline = file("a,b,c\n1,x,2\n3,x,4\n").baseline();
    for (text, expected) in [
        ("a,c\n1,2\n3,4\n", vec!["b missing_column_check"]),
        ("a,b,c,d\n1,x,2,\n3,x,4,\n", vec!["d extra_column_check"]),
        (
            "a,B,c\n1,x,2\n3,x,4\n",
            vec!["b missing_column_check", "B extra_column_check"],
        ),
        ("c,a,b\n2,1,x\n4,3,x\n", vec![]),
        (
            "d,e,f\n1,x,2\n",
            vec![
                "a missing_column_check",
                "b missing_column_check",
                "c missing_column_check",
                "d extra_column_check",
                "e extra_column_check",
                "f extra_column_check",
            ],
        ),
    ] {
        assert_eq!(violations(&file(text).analyze(&baseline)), expected, "{text}");
    }
    let report = file("a,c\n1,2\n").analyze(&baseline);
    assert_eq!(
        report.violations.first().unwrap().description,
        "There are missing columns in current dataset. Number of columns in current dataset: 2, Number of columns in \
         baseline constraints: 3"
    );
}

#[test]
fn files_may_reorder_and_omit_columns() {
    let dataset = files(["a,b,c\n1,2,x\n", "c,a\ny,3\n", "b,d,a\n4,5,6\n"]).read();
    assert_eq!(dataset.sink.item_count(), 3);
    assert_eq!(
        shown(&dataset),
        [
            "a Integral 1×1 3×1 6×1",
            "b Integral 2×1 4×1",
            "c String x×1 y×1",
            "d Integral 5×1"
        ]
    );
    assert_eq!(counts(&dataset), []);
    let baseline = file("a,b\n1,2\n3,4\n").baseline();
    let report = files(["a,b\n1,2\n", "b,a\n2,1\n", "a\n1\n"]).analyze(&baseline);
    assert_eq!(violations(&report), ["b completeness_check"]);
    // Also if each file has blocks on every lane.
    let (some, more) = (rows(200_000), rows(100_000));
    let dataset = files(
        [
            format!("a,b,c\n{some}"),
            format!("b,c,a\n{more}"),
            format!("c,a,b\n{some}"),
        ]
        .iter(),
    )
    .read();
    let column = |name: &str| dataset.sink.get(name).unwrap().classes();
    for (name, whole, fractional, text) in [
        ("a", 200_000, 200_000, 100_000),
        ("b", 100_000, 200_000, 200_000),
        ("c", 200_000, 100_000, 200_000),
    ] {
        let classes = column(name);
        let of = |class: Class| *classes.get(class.index()).unwrap();
        assert_eq!(
            (of(Class::Integral), of(Class::Fractional), of(Class::String)),
            (whole, fractional, text),
            "{name}"
        );
    }
}

#[test]
fn empty_dataset_is_no_data() {
    let baseline = file("a,b\n1,2\n").baseline();
    let none = files([""; 0]);
    for (what, files) in [
        ("header only", file("a,b\n")),
        ("header without a line end", file("a,b")),
        ("empty", file("")),
        ("empty lines", file("\n\r\n\n")),
        ("a byte order mark", file("\u{feff}")),
        ("an empty archive", file(gzip(b""))),
        ("no files", none),
        ("several of nothing", files(["", "a,b\n", "\n"])),
    ] {
        let report = files.analyze(&baseline);
        assert_eq!(report.outcome(), Outcome::NoData, "{what}");
        assert_eq!(report.exit_message(), "Job inputs had no data");
        assert_eq!(
            report.notes,
            ["the dataset has no rows: nothing was checked, and the result is NoData, not Clean"],
            "{what}"
        );
        assert_eq!(
            notes(&files.read()),
            ["the dataset has no rows: a baseline requires at least one"],
            "{what}"
        );
    }
}

#[test]
fn single_row_and_empty_columns_are_analyzed() {
    let one = file("a,b,c\n1,,x\n");
    let baseline = one.baseline();
    assert_eq!(violations(&one.analyze(&baseline)), [""; 0]);
    assert_eq!(shown(&one.read()), ["a Integral 1×1", "b Unknown ", "c String x×1"]);
    let values = file("a,b,c\n1,5,x\n");
    assert_eq!(
        violations(&values.analyze(&baseline)),
        [""; 0],
        "a column that had no values may have some"
    );
    let report = one.analyze(&values.baseline());
    assert_eq!(violations(&report), ["b completeness_check"]);
    assert_eq!(
        report.violations.first().unwrap().description,
        "Value: 0.0 does not meet the constraint requirement! Completeness should be at least 1.0"
    );
    assert!(
        report
            .notes
            .contains(&"drift was not checked for column `b`: it has no values".to_owned()),
        "{:?}",
        report.notes
    );
}

#[test]
fn constant_columns_drift_only_when_changed() {
    let constant = file(format!("n,t\n{}", "5,x\n".repeat(500)));
    let baseline = constant.baseline();
    assert_eq!(violations(&constant.analyze(&baseline)), [""; 0]);
    let other = file(format!("n,t\n{}", "6,y\n".repeat(500)));
    assert_eq!(
        violations(&other.analyze(&baseline)),
        [
            "n baseline_drift_check",
            "t categorical_values_check",
            "t baseline_drift_check"
        ]
    );
}

#[test]
fn numbers_beyond_double_range_count_as_missing() {
    let dataset = file("a\n1\n1e999\n-1e999\n2.5\n").read();
    assert_eq!(dataset.sink.item_count(), 4);
    assert_eq!(shown(&dataset), ["a Fractional 1×1 2.5×1"]);
    assert_eq!(dataset.sink.get("a").unwrap().not_finite(), 2);
    assert_eq!(
        notes(&dataset).first().unwrap(),
        "1.csv, row 3, column `a`: `1e999` is not a finite number: it counts as missing"
    );
    let dataset = file(format!("a\n{}\n", "9".repeat(400))).read();
    assert_eq!(counts(&dataset), [(Kind::NotFinite, 1)]);
    // Spelled out, they are strings, as in Model Monitor.
    let baseline = file("a\n1.5\n2.5\n").baseline();
    let report = file("a\n1.5\nNaN\nInfinity\n-inf\n").analyze(&baseline);
    assert_eq!(violations(&report), ["a data_type_check"]);
    // The sum of the largest numbers is infinite, not missing.
    let dataset = file(format!("a,b\n{}", "1.7e308,-1.7e308\n".repeat(3))).read();
    let moments = |name: &str| dataset.sink.get(name).unwrap().moments();
    assert!(moments("a").sum >= f64::INFINITY && moments("b").sum <= f64::NEG_INFINITY);
    assert!(moments("a").std_dev.is_nan());
}

#[test]
fn ten_thousand_columns() {
    let columns = 10_000;
    let row = |cell: &dyn Fn(u32) -> String| {
        let mut row = (0..columns).map(cell).collect::<Vec<_>>().join(",");
        row.push('\n');
        row
    };
    let header = row(&|at| format!("c{at}"));
    let mut text = header.clone();
    for number in 0..300 {
        text.push_str(&row(&|at| format!("{}.25", at * number % 9_973)));
    }
    let wide = file(&text);
    let dataset = wide.read();
    assert_eq!((dataset.sink.item_count(), dataset.sink.columns().len()), (300, 10_000));
    for (_, column) in dataset.sink.columns() {
        assert_eq!(column.present(), 300);
        assert!(column.limit() <= 4096);
    }
    let limits: usize = dataset.sink.columns().map(|(_, column)| column.limit()).sum();
    assert!(limits < 6_000_000, "up to {limits} distinct values may be kept");
    let baseline = wide.baseline();
    let report = wide.analyze(&baseline);
    assert_eq!(violations(&report), [""; 0]);
    // All columns are missing, and there are few notes.
    let report = file("x\n1\n").analyze(&baseline);
    let found = violations(&report);
    assert_eq!(found.len(), 101);
    assert_eq!(report.notes, ["9900 more columns are missing"]);
    let mut texts = header;
    texts.push_str(&row(&|_| "-x".to_owned()));
    let report = file(&texts).analyze(&baseline);
    assert!(report.notes.len() < 10, "{:?}", report.notes);
    assert_eq!(violations(&report).len(), 10_000);
    let error = file(format!("{}\n1\n", vec!["x,"; 20_001].concat())).read_error(Header::Absent);
    assert_eq!(error, "1.csv: there are more than 20000 columns");
}

#[test]
fn million_distinct_strings_take_bounded_memory() {
    let mut text = "id\n".to_owned();
    for number in 0..1_000_000u32 {
        writeln!(text, "user-{:08x}", number.wrapping_mul(0x9E37_79B9)).unwrap();
        if number % 5 == 0 {
            text.push_str("nobody\n");
        }
    }
    let dataset = file(&text).read();
    let column = dataset.sink.get("id").unwrap();
    assert_eq!(column.present(), 1_200_000);
    let distinct = column.distinct_count();
    assert!((distinct / 1_000_001.0 - 1.0).abs() < 0.064, "{distinct}");
    let texts = column.texts();
    assert!(texts.len() <= 8192, "{}", texts.len());
    assert!(column.count_error() <= 1_200_000 / 4096, "{}", column.count_error());
    let (first, count) = texts.first().unwrap();
    assert_eq!(first, "nobody");
    assert!((200_000 - column.count_error()..=200_000).contains(count), "{count}");
    let statistics = common::statistics(&dataset);
    let written = serde_json::to_vec(&statistics).unwrap();
    assert!(written.len() < 1 << 20, "{} bytes", written.len());
}

#[test]
fn long_strings_stay_distinct_and_short() {
    let long = |end: u32| format!("{}{end}", "x".repeat(100_000));
    let text: String = (0..40).map(|row| format!("{}\n", long(row % 4))).collect();
    let dataset = file(format!("a\n{text}")).read();
    let column = dataset.sink.get("a").unwrap();
    assert!((column.distinct_count() - 4.0).abs() <= 0.0);
    for (text, count) in column.texts() {
        assert!(text.len() <= 256 && count == 10);
    }
}

#[test]
fn byte_order_marks_and_empty_lines_are_ignored() {
    let plain = shown(&file("a,b\n1,x\n2,y\n").read());
    for text in [
        "\u{feff}a,b\n1,x\n2,y\n",
        "a,b\r\n1,x\r\n2,y\r\n",
        "a,b\r\n1,x\r\n2,y",
        "\n\n\r\na,b\n\n1,x\n\r\n2,y\n\n\n",
        "\u{feff}\r\n\"a\",b\r\n\"1\",x\r\n2,\"y\"\r\n",
        "a , b\n1,x\n2,y\n",
    ] {
        let dataset = file(text).read();
        assert_eq!(shown(&dataset), plain, "{text:?}");
        assert_eq!((dataset.sink.item_count(), counts(&dataset)), (2, vec![]), "{text:?}");
    }
    let mut late = "\n".repeat(200_000);
    late.push_str("a,b\n1,x\n2,y\n");
    assert_eq!(shown(&file(late).read()), plain, "after many empty lines");
    assert_eq!(
        file("a,b\r1,x\r2,y\r").error(),
        "1.csv: lines end with carriage returns only: expected line feeds"
    );
}

#[test]
fn all_gzip_members_are_unpacked() {
    let text = format!("a,b,c\n{}", rows(50_000));
    let (first, second) = text.split_at(text.len() / 2);
    let whole = shown(&file(&text).read());
    let members = [gzip(first.as_bytes()), gzip(b""), gzip(second.as_bytes())].concat();
    let dataset = file(&members).read();
    assert_eq!(dataset.sink.item_count(), 50_000);
    assert_eq!(shown(&dataset), whole);
    let packed = gzip(text.as_bytes());
    for cut in [packed.len() - 1, packed.len() - 9, packed.len() / 2, 12] {
        let error = file(packed.get(..cut).unwrap()).error();
        assert!(error.starts_with("failed to read 1.csv: "), "{error}");
    }
    let mut broken = packed;
    let middle = broken.len() / 2;
    broken.get_mut(middle..middle + 40).unwrap().fill(0x55);
    let error = file(&broken).error();
    assert!(error.starts_with("failed to read 1.csv: "), "{error}");
}

#[test]
fn unsupported_formats_are_named() {
    for (content, what) in [
        (
            &b"PK\x03\x04\x14\0\0\0"[..],
            "zip archives and workbooks are not supported: unpack the file, or save it as CSV",
        ),
        (
            b"\x28\xb5\x2f\xfd\x04\x00",
            "zstd compression is not supported: use gzip or no compression",
        ),
        (
            b"Obj\x01\x04\x14avro.codec",
            "Avro is not supported: convert the file to Parquet",
        ),
    ] {
        assert_eq!(file(content).error(), format!("failed to read 1.csv: {what}"));
    }
    let folder = tempfile::TempDir::new().unwrap();
    let missing = analyzer::Object::file(&folder.path().join("missing.csv"));
    let error = analyzer::read(vec![missing], &ReadOptions::default(), analysis::Profile::default).unwrap_err();
    assert!(error.to_string().contains("missing.csv: "), "{error}");
}

#[test]
fn columns_without_header_are_numbered() {
    let dataset = file("1,x\n2,y\n").read();
    assert_eq!(shown(&dataset), ["_c0 Integral 1×1 2×1", "_c1 String x×1 y×1"]);
    let dataset = file("a,b\nc,d\n").read_with(&with(Header::Absent));
    assert_eq!(shown(&dataset), ["_c0 String a×1 c×1", "_c1 String b×1 d×1"]);
    let dataset = file("1,2\n3,4\n").read_with(&with(Header::Present));
    assert_eq!(shown(&dataset), ["1 Integral 3×1", "2 Integral 4×1"]);
    // With a baseline, they have its names.
    let dataset = file("1,x\n2,y\n").read_with(&expecting(&["n", "t"]));
    assert_eq!(shown(&dataset), ["n Integral 1×1 2×1", "t String x×1 y×1"]);
    let baseline = file("n,t\n1,x\n2,x\n").baseline();
    assert_eq!(
        violations(&file("1\n2\n").analyze(&baseline)),
        ["t missing_column_check"]
    );
    assert_eq!(
        violations(&file("1,x,5\n2,x,6\n").analyze(&baseline)),
        ["_c2 extra_column_check"]
    );
}

#[test]
fn header_is_detected_by_names_or_missing_numbers() {
    // Most names are known, even if one looks like a number.
    let dataset = file("2023,2024,t\n1,2,x\n").read_with(&expecting(&["2023", "2024", "t"]));
    assert_eq!(
        shown(&dataset),
        ["2023 Integral 1×1", "2024 Integral 2×1", "t String x×1"]
    );
    // The baseline had no names: a row of strings is not a header, but could be one.
    let dataset = file("x,y\nz,y\n").read_with(&expecting(&["_c0", "_c1"]));
    assert_eq!(shown(&dataset), ["_c0 String x×1 z×1", "_c1 String y×2"]);
    assert_eq!(counts(&dataset), [(Kind::FirstRow, 1)]);
    let dataset = file(",b\n1,2\n").read();
    assert_eq!(
        shown(&dataset),
        ["_c0 Integral 1×1", "b Integral 2×1"],
        "the index of a data frame"
    );
}

#[test]
fn duplicate_names_are_rejected() {
    assert_eq!(
        file("a,b,a\n1,2,3\n").error(),
        "1.csv: row 1: two columns have the name `a`\nhint: rename one, or add --header absent"
    );
    assert_eq!(
        files(["a,b\n1,2\n", "a, a \n1,2\n"]).error(),
        "2.csv: row 1: two columns have the name `a`\nhint: rename one, or add --header absent"
    );
}

#[test]
fn file_without_header_after_header_is_rejected() {
    let wanted = "2.csv: row 1 has none of the column names of the earlier files, which have a header\nhint: add --header \
         present or --header absent";
    assert_eq!(files(["a,b\n1,2\n", "3,4\n"]).error(), wanted);
    assert_eq!(
        files(["city,age\nBonn,2\n", "Paris,\nRome,4\n"]).error(),
        wanted,
        "a row without a number"
    );
    let dataset = files(["a,b\n1,2\n", "c,a\n3,4\n"]).read();
    assert_eq!(dataset.sink.columns().len(), 3, "one name is enough");
    let dataset = files(["a,b\n1,2\n", "c,d\n3,4\n"]).read_with(&with(Header::Present));
    assert_eq!(dataset.sink.columns().len(), 4);
    // Even if the baseline could name its columns.
    let error = files(["a,b\n1,2\n", "3,4\n"])
        .try_read(&expecting(&["a", "b"]))
        .unwrap_err();
    assert_eq!(error.to_string(), wanted);
}

#[test]
fn late_header_is_reported() {
    let dataset = files(["1,2\n", "a,b\n3,4\n"]).read();
    assert_eq!(dataset.sink.item_count(), 3);
    assert_eq!(counts(&dataset), [(Kind::FirstRow, 1)]);
    assert!(
        notes(&dataset)
            .first()
            .unwrap()
            .starts_with("2.csv, row 1: the row looks like a header, but counts as data"),
        "{:?}",
        notes(&dataset)
    );
    // The baseline contains its names.
    let dataset = files(["1,2\n", "b,a\n3,4\n"]).read_with(&expecting(&["a", "b"]));
    assert_eq!(shown(&dataset), ["a Integral 1×1 4×1", "b Integral 2×1 3×1"]);
    assert_eq!(counts(&dataset), []);
}

#[test]
fn different_widths_without_header_are_reported() {
    let dataset = files(["1,2,3\n4,5,6\n", "7,8\n"]).read();
    assert_eq!(
        notes(&dataset),
        ["2.csv, row 1: the row has 2 cells, but earlier files without a header have 3 columns"]
    );
    assert_eq!(
        shown(&dataset),
        [
            "_c0 Integral 1×1 4×1 7×1",
            "_c1 Integral 2×1 5×1 8×1",
            "_c2 Integral 3×1 6×1"
        ]
    );
}

#[test]
fn delimiter_is_configurable() {
    let semicolons = ReadOptions {
        delimiter: Some(b';'),
        ..ReadOptions::default()
    };
    let dataset = file("a;b\n1;\"x;y\"\n2,5;z\n").read_with(&semicolons);
    assert_eq!(shown(&dataset), ["a String 1×1 2,5×1", "b String x;y×1 z×1"]);
    let tabs = ReadOptions {
        delimiter: Some(b'\t'),
        ..ReadOptions::default()
    };
    let dataset = file("a\tb\n\t\n\tx\n").read_with(&tabs);
    assert_eq!(
        (dataset.sink.item_count(), shown(&dataset)),
        (2, vec!["a Unknown ".to_owned(), "b String x×1".to_owned()])
    );
    for (text, hint) in [
        ("a;b\n1;2\n", "a semicolon, add --delimiter ';'"),
        ("1;2\n3;4\n", "a semicolon, add --delimiter ';'"),
        ("a\tb\n1\t2\n", "a tab, add --delimiter '\\t'"),
    ] {
        let error = file(text).error();
        assert!(error.ends_with(&format!("hint: if the delimiter is {hint}")), "{error}");
    }
    let commas = ReadOptions {
        delimiter: Some(b','),
        ..ReadOptions::default()
    };
    assert_eq!(shown(&file("a;b\n1;2\n").read_with(&commas)), ["a;b String 1;2×1"]);
}

#[test]
fn profile_of_file_is_deterministic() {
    let text = format!("a,b,c\n{}", rows(300_000));
    let files = files([text.as_str(), "c,a\nx\u{e9},1e999\n", &text]);
    let once = files.read();
    let (statistics, findings) = (
        serde_json::to_vec(&common::statistics(&once)).unwrap(),
        once.findings.lines(),
    );
    for _ in 0..4 {
        let again = files.read();
        assert_eq!(serde_json::to_vec(&common::statistics(&again)).unwrap(), statistics);
        assert_eq!(again.findings.lines(), findings);
    }
}

impl common::Files {
    fn read_error(&self, header: Header) -> String {
        self.try_read(&with(header)).unwrap_err().to_string()
    }
}

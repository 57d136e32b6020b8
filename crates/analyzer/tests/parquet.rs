//! Parquet files of all types, valid and corrupt, as the parquet crate writes them.
#![expect(
    clippy::unwrap_used,
    clippy::format_collect,
    reason = "a test fails by panicking; texts of some rows"
)]

use crate::common;

use analyzer::{Object, ReadOptions, Table, findings::Kind, read};
use common::{counts, file, files, notes, shown, violations};
use parquet::{
    basic::{Compression, GzipLevel, ZstdLevel},
    data_type::{
        BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, FloatType, Int32Type,
        Int64Type, Int96, Int96Type,
    },
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use std::{io::Cursor, sync::Arc};

/// Column of a row group.
enum Values {
    Bool(Levels<BoolType>),
    Int32(Levels<Int32Type>),
    Int64(Levels<Int64Type>),
    Int96(Levels<Int96Type>),
    Float(Levels<FloatType>),
    Double(Levels<DoubleType>),
    Bytes(Levels<ByteArrayType>),
    Fixed(Levels<FixedLenByteArrayType>),
}

/// Values, with definition and repetition levels if the schema has any.
struct Levels<T: DataType>(Vec<T::T>, Option<Vec<i16>>, Option<Vec<i16>>);

fn plain<T: DataType>(values: Vec<T::T>) -> Levels<T> {
    Levels(values, None, None)
}

fn optional<T: DataType>(values: Vec<Option<T::T>>) -> Levels<T> {
    let levels = values.iter().map(|value| i16::from(value.is_some())).collect();
    Levels(values.into_iter().flatten().collect(), Some(levels), None)
}

fn texts(values: &[Option<&str>]) -> Values {
    Values::Bytes(optional(
        values.iter().map(|value| value.map(ByteArray::from)).collect(),
    ))
}

/// File with some row groups.
fn parquet(schema: &str, groups: Vec<Vec<Values>>) -> Vec<u8> {
    compressed(Compression::SNAPPY, schema, groups)
}

fn compressed(codec: Compression, schema: &str, groups: Vec<Vec<Values>>) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(&format!("message schema {{ {schema} }}")).unwrap());
    let properties = WriterProperties::builder().set_compression(codec).build();
    let mut written = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut written, schema, Arc::new(properties)).unwrap();
    for group in groups {
        let mut rows = writer.next_row_group().unwrap();
        for values in group {
            let mut column = rows.next_column().unwrap().unwrap();
            macro_rules! write {
                ($type:ty, $values:expr) => {
                    column
                        .typed::<$type>()
                        .write_batch(&$values.0, $values.1.as_deref(), $values.2.as_deref())
                        .unwrap()
                };
            }
            match values {
                Values::Bool(values) => write!(BoolType, values),
                Values::Int32(values) => write!(Int32Type, values),
                Values::Int64(values) => write!(Int64Type, values),
                Values::Int96(values) => write!(Int96Type, values),
                Values::Float(values) => write!(FloatType, values),
                Values::Double(values) => write!(DoubleType, values),
                Values::Bytes(values) => write!(ByteArrayType, values),
                Values::Fixed(values) => write!(FixedLenByteArrayType, values),
            };
            column.close().unwrap();
        }
        rows.close().unwrap();
    }
    writer.close().unwrap();
    written
}

fn fixed(values: &[&[u8]]) -> Values {
    let values = values.iter().map(|bytes| ByteArray::from(bytes.to_vec()).into());
    Values::Fixed(plain(values.collect()))
}

/// Two columns in row groups of these sizes: in each row, the number and its string.
fn numbered(groups: &[i64]) -> Vec<u8> {
    let mut next = 0;
    let groups = groups.iter().map(|rows| {
        let numbers: Vec<i64> = (next..next + rows).collect();
        next += rows;
        let texts = numbers
            .iter()
            .map(|number| ByteArray::from(format!("t{number}").as_str()));
        vec![Values::Bytes(plain(texts.collect())), Values::Int64(plain(numbers))]
    });
    parquet("required binary t (UTF8); required int64 n;", groups.collect())
}

#[test]
fn signed_and_unsigned_integers_are_read() {
    let dataset = file(parquet(
        "required int32 i; required int64 l; optional int32 o; required int32 u8 (UINT_8); \
         required int32 u32 (INTEGER(32,false)); required int64 u64 (INTEGER(64,false)); required int32 i8 (INT_8);",
        vec![vec![
            Values::Int32(plain(vec![i32::MIN, 7])),
            Values::Int64(plain(vec![i64::MIN, i64::MAX])),
            Values::Int32(optional(vec![None, Some(0)])),
            Values::Int32(plain(vec![0, 255])),
            Values::Int32(plain(vec![-1, 1])),
            Values::Int64(plain(vec![-1, 1])),
            Values::Int32(plain(vec![-128, 127])),
        ]],
    ))
    .read();
    assert_eq!(
        shown(&dataset),
        [
            "i Integral -2147483648×1 7×1",
            "l Integral -9223372036854775808×1 9223372036854775807×1",
            "o Integral 0×1",
            "u8 Integral 0×1 255×1",
            "u32 Integral 1×1 4294967295×1",
            "u64 Fractional 1×1 1.8446744073709552e19×1",
            "i8 Integral -128×1 127×1",
        ]
    );
    assert_eq!(counts(&dataset), []);
}

#[test]
fn floats_decimals_and_non_finite_numbers_are_read() {
    let wide: Vec<u8> = [0u8, 0].into_iter().chain(12345i128.to_be_bytes()).collect();
    let narrow: Vec<u8> = [0xffu8; 17].into_iter().chain([0x85]).collect();
    let dataset = file(parquet(
        "required float f; optional double d; required int32 d9 (DECIMAL(9,2)); required int64 d18 (DECIMAL(18,3)); \
         required binary dx (DECIMAL(38,1)); required fixed_len_byte_array(18) d43 (DECIMAL(43,2)); \
         required fixed_len_byte_array(2) h (FLOAT16);",
        vec![vec![
            Values::Float(plain(vec![0.5, f32::NAN])),
            Values::Double(optional(vec![Some(f64::NEG_INFINITY), None])),
            Values::Int32(plain(vec![-105, 200])),
            Values::Int64(plain(vec![1, -1_234_567])),
            Values::Bytes(plain(vec![vec![0xff].into(), vec![0x01, 0x00].into()])),
            fixed(&[&wide, &narrow]),
            fixed(&[&[0x00, 0x3c], &[0x00, 0x7c]]),
        ]],
    ))
    .read();
    assert_eq!(
        shown(&dataset),
        [
            "f Fractional 0.5×1",
            "d Unknown ",
            "d9 Fractional -1.05×1 2.0×1",
            "d18 Fractional -1234.567×1 0.001×1",
            "dx Fractional -0.1×1 25.6×1",
            "d43 Fractional -1.23×1 123.45×1",
            "h Fractional 1.0×1",
        ]
    );
    assert_eq!(counts(&dataset), [(Kind::NotFinite, 3)]);
    let reported = notes(&dataset);
    for expected in [
        "1.csv, row 2, column `f`: `NaN` is not a finite number: it counts as missing",
        "1.csv, row 1, column `d`: `-inf` is not a finite number: it counts as missing",
        "1.csv, row 2, column `h`: `inf` is not a finite number: it counts as missing",
    ] {
        assert!(reported.iter().any(|note| note == expected), "{reported:?}");
    }
}

#[test]
fn strings_booleans_dates_and_times_are_read() {
    let dataset = file(parquet(
        "required boolean b; optional binary s (UTF8); required binary raw; required int32 date (DATE); \
         required int64 ms (TIMESTAMP_MILLIS); required int64 us (TIMESTAMP(MICROS,true)); \
         required int64 ns (TIMESTAMP(NANOS,false)); required int96 old; \
         required fixed_len_byte_array(16) id (UUID); required binary e (ENUM);",
        vec![vec![
            Values::Bool(plain(vec![true, false])),
            texts(&[Some("5"), Some("")]),
            Values::Bytes(plain(vec!["x".into(), vec![0xff, 0xfe].into()])),
            Values::Int32(plain(vec![0, -1])),
            Values::Int64(plain(vec![1_700_000_000_000, i64::MAX])),
            Values::Int64(plain(vec![0, 1])),
            Values::Int64(plain(vec![0, 1])),
            Values::Int96(plain(vec![
                Int96::from(vec![0, 0, 2_440_588]),
                Int96::from(vec![0, 0, 2_440_589]),
            ])),
            fixed(&[&[0x12; 16], &[0xab; 16]]),
            Values::Bytes(plain(vec!["A".into(), "A".into()])),
        ]],
    ))
    .read();
    assert_eq!(
        shown(&dataset),
        [
            "b String false×1 true×1",
            "s Integral 5×1",
            "raw String x×1 \u{fffd}\u{fffd}×1",
            "date String 1969-12-31×1 1970-01-01×1",
            "ms String 2023-11-14T22:13:20Z×1 9223372036854775807×1",
            "us String 1970-01-01T00:00:00.000001Z×1 1970-01-01T00:00:00Z×1",
            "ns String 1970-01-01T00:00:00.000000001Z×1 1970-01-01T00:00:00Z×1",
            "old String 1970-01-01T00:00:00Z×1 1970-01-02T00:00:00Z×1",
            "id String 12121212-1212-1212-1212-121212121212×1 abababab-abab-abab-abab-abababababab×1",
            "e String A×2",
        ]
    );
    assert_eq!(counts(&dataset), [(Kind::NotUtf8, 1)]);
}

#[test]
fn lists_and_null_columns_have_no_values() {
    let group = || {
        vec![
            Values::Bytes(Levels(
                vec!["a".into(), "b".into(), "c".into()],
                Some(vec![3, 3, 0, 3]),
                Some(vec![0, 1, 0, 0]),
            )),
            Values::Double(Levels(vec![0.5], Some(vec![0, 1, 2]), None)),
            Values::Int32(plain(vec![1, 2, 3])),
            texts(&[None, None, None]),
            Values::Int32(plain(vec![1, 2, 3])),
        ]
    };
    let bytes = parquet(
        "optional group tags (LIST) { repeated group list { optional binary element (UTF8); } } \
         optional group at { optional double x; } required int32 n; optional binary none (UTF8); \
         required int32 time (TIME_MILLIS);",
        vec![group(), group()],
    );
    let dataset = file(&bytes).read();
    assert_eq!(
        shown(&dataset),
        [
            "tags_list_element Unknown ",
            "at_x Fractional 0.5×2",
            "n Integral 1×2 2×2 3×2",
            "none Unknown ",
            "time Unknown "
        ]
    );
    assert_eq!(
        notes(&dataset),
        [
            "1.csv, column `tags_list_element`: lists are not supported",
            "1.csv, column `time`: values of type TIME_MILLIS are not supported",
        ]
    );
    let baseline = file("tags_list_element,at_x,n,none,time\nx,0.5,1,y,5\n").baseline();
    let found = violations(&file(&bytes).analyze(&baseline));
    for column in ["tags_list_element", "at_x", "none", "time"] {
        assert!(found.contains(&format!("{column} completeness_check")), "{found:?}");
    }
}

#[test]
fn findings_name_row_in_file() {
    let group = |bad: usize| {
        let column = |at: usize| {
            let values = (0..10).map(|row| if row == bad + at { f64::NAN } else { 1.5 });
            Values::Double(plain(values.collect()))
        };
        (0..3).map(column).collect::<Vec<_>>()
    };
    let schema = "required double a; required double b; required double c;";
    let dataset = file(parquet(schema, vec![group(20), group(5), group(2)])).read();
    assert_eq!(dataset.sink.item_count(), 30);
    let reported = notes(&dataset);
    let places: Vec<_> = reported.iter().map(|note| note.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        [
            "1.csv, row 16, column `a`",
            "1.csv, row 17, column `b`",
            "1.csv, row 18, column `c`",
            "1.csv, row 23, column `a`",
            "1.csv, row 24, column `b`",
            "in total, 6 numbers are not finite and count as missing",
        ]
    );
}

#[test]
fn every_row_of_every_group_counts_once() {
    let bytes = numbered(&[20_000, 1, 9_999, 8192, 0, 3]);
    let files = file(&bytes);
    let dataset = files.read();
    let rows = 38_195;
    assert_eq!(dataset.sink.item_count(), rows);
    assert_eq!(
        dataset.sink.columns().map(|(name, _)| name).collect::<Vec<_>>(),
        ["t", "n"]
    );
    let moments = dataset.sink.get("n").unwrap().moments();
    assert!((moments.sum - 38_194.0 * 38_195.0 / 2.0).abs() <= 0.0);
    assert_eq!(dataset.sink.get("t").unwrap().present(), rows);
    // In a table, the cells of a row stay together.
    let dataset = read(files.objects(), &ReadOptions::default(), || Table::with_columns(None)).unwrap();
    let (t, n) = (dataset.sink.get("t").unwrap(), dataset.sink.get("n").unwrap());
    assert_eq!(dataset.sink.rows() as u64, rows);
    for (text, number) in t.cells().iter().zip(n.cells()) {
        assert_eq!(t.text(*text).unwrap(), format!("t{}", n.text(*number).unwrap()));
    }
    let empty = file(numbered(&[]));
    assert_eq!(empty.read().sink.item_count(), 0);
    assert_eq!(empty.read().sink.columns().len(), 0, "no row group names its columns");
}

#[test]
fn csv_and_parquet_form_one_dataset() {
    let dataset = files([
        b"n,t\n5,x\n".to_vec(),
        numbered(&[2]),
        b"{\"t\": \"y\", \"n\": 0}\n".to_vec(),
    ])
    .read();
    assert_eq!(
        shown(&dataset),
        ["n Integral 0×2 1×1 5×1", "t String t0×1 t1×1 x×1 y×1"]
    );
    assert_eq!(dataset.sink.item_count(), 4);
}

#[test]
fn streams_give_same_result_as_files() {
    let bytes = numbered(&[1000, 500]);
    let stream = || {
        let bytes = bytes.clone();
        Object::stream("s3://bucket/key", None, move || Ok(Box::new(Cursor::new(bytes))))
    };
    let dataset = read(vec![stream()], &ReadOptions::default(), analysis::Profile::default).unwrap();
    assert_eq!(shown(&dataset), shown(&file(&bytes).read()));
    let failing = Object::stream("s3://bucket/gone", None, || Err(std::io::Error::other("no such key")));
    let error = read(
        vec![stream(), failing],
        &ReadOptions::default(),
        analysis::Profile::default,
    )
    .unwrap_err();
    assert_eq!(error.to_string(), "failed to read s3://bucket/gone: no such key");
}

#[test]
fn compressed_pages_are_read() {
    let column = || vec![vec![Values::Int64(plain((0..1000).collect()))]];
    for codec in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
        Compression::LZ4_RAW,
        Compression::LZ4,
    ] {
        let dataset = file(compressed(codec, "required int64 n;", column())).read();
        let moments = dataset.sink.get("n").unwrap().moments();
        assert!((moments.sum - 499_500.0).abs() <= 0.0, "{codec:?}");
    }
}

#[test]
fn truncated_files_are_errors() {
    let bytes = numbered(&[3000, 3000]);
    for cut in [4, 5, 11, 12, 200, bytes.len() / 2, bytes.len() - 5, bytes.len() - 1] {
        let error = file(bytes.get(..cut).unwrap()).error();
        assert!(
            error.starts_with("1.csv: the Parquet file is truncated or corrupt: "),
            "{cut}: {error}"
        );
    }
    // Pages with overwritten bytes.
    let mut broken = bytes.clone();
    broken.get_mut(10..400).unwrap().fill(0x55);
    let error = file(&broken).error();
    assert!(
        error.starts_with("1.csv: column `t`: failed to read row group 1: "),
        "{error}"
    );
    // Among several files, the error names the corrupt one.
    let error = files([&b"n,t\n1,x\n"[..], &broken, b"n,t\n1,x\n"]).error();
    assert!(
        error.starts_with("2.csv: column `t`: failed to read row group 1: "),
        "{error}"
    );
}

#[test]
fn duplicate_path_names_are_rejected() {
    let bytes = parquet(
        "required int32 a_b; required group a { required int32 b; }",
        vec![vec![Values::Int32(plain(vec![1])), Values::Int32(plain(vec![2]))]],
    );
    assert_eq!(
        file(bytes).error(),
        "1.csv: two columns have the name `a_b`: rename one"
    );
}

#[test]
fn ten_thousand_columns() {
    let names: String = (0..10_000).map(|at| format!("required int32 c{at};")).collect();
    let groups = (0..2).map(|group| (0..10_000).map(|at| Values::Int32(plain(vec![group, at]))).collect());
    let dataset = file(parquet(&names, groups.collect())).read();
    assert_eq!((dataset.sink.item_count(), dataset.sink.columns().len()), (4, 10_000));
    for ((name, column), at) in dataset.sink.columns().zip(0..) {
        assert_eq!((name, column.present()), (format!("c{at}").as_str(), 4));
        assert!((column.moments().sum - f64::from(2 * at + 1)).abs() <= 0.0);
    }
}

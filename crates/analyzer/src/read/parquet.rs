//! Parquet, column by column. Nested lists are not supported.

use super::{Notebook, Place};
use crate::{findings::Kind, sink::Sink};
use analysis::TooManyColumns;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp, civil::Date};
use parquet::{
    basic::{ConvertedType, LogicalType, TimeUnit},
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::DataType,
    errors::ParquetError,
    file::{
        reader::{ChunkReader, FileReader as _, Length},
        serialized_reader::SerializedFileReader,
    },
    schema::types::ColumnDescriptor,
};
use std::{
    collections::BTreeSet,
    io::{self, BufReader, Read, Seek as _, SeekFrom},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
};

/// Number of rows in one batch.
const BATCH_ROWS: usize = 8192;

/// Opened file.
pub(super) struct File {
    reader: SerializedFileReader<Shared>,
}

/// File that several threads read at separate offsets. Duplicated handles would share one offset.
struct Shared {
    file: Arc<Mutex<std::fs::File>>,
    bytes: u64,
}

/// Offset in a shared file.
struct At {
    file: Arc<Mutex<std::fs::File>>,
    at: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut file = self
            .file
            .lock()
            .map_err(|_| io::Error::other("a reader thread panicked"))?;
        file.seek(SeekFrom::Start(self.at))?;
        let read = file.read(buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Length for Shared {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for Shared {
    type T = BufReader<At>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(BufReader::new(At {
            file: Arc::clone(&self.file),
            at: start,
        }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        // The lengths in a corrupt file can be wrong.
        let end = start.checked_add(length as u64);
        if end.is_none_or(|end| end > self.bytes) {
            return Err(ParquetError::EOF(format!(
                "expected {length} bytes at offset {start}, but the file has {} bytes",
                self.bytes
            )));
        }
        let mut bytes = vec![0; length];
        self.get_read(start)?.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// Reason for which reading failed.
pub(super) enum Failed {
    TooManyColumns(TooManyColumns),
    File(String),
}

impl From<TooManyColumns> for Failed {
    fn from(error: TooManyColumns) -> Self {
        Self::TooManyColumns(error)
    }
}

/// Runs an operation on a file that may be corrupt: the parquet crate panics on some. The error ends the reading, so no
/// partly changed state is used afterwards.
fn guarded<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(_) => Err("the Parquet file is truncated or corrupt".to_owned()),
    }
}

impl File {
    pub(super) fn open(file: std::fs::File) -> Result<Self, String> {
        let bytes = file.metadata().map_err(|error| error.to_string())?.len();
        let file = Arc::new(Mutex::new(file));
        let reader = guarded(|| SerializedFileReader::new(Shared { file, bytes }))
            .map_err(|error| format!("the Parquet file is truncated or corrupt: {error}"))?;
        let mut names = BTreeSet::new();
        for column in reader.metadata().file_metadata().schema_descr().columns() {
            let name = name(column);
            if names.contains(&name) {
                return Err(format!("two columns have the name `{name}`: rename one"));
            }
            names.insert(name);
        }
        Ok(Self { reader })
    }

    pub(super) fn row_groups(&self) -> usize {
        self.reader.num_row_groups()
    }
}

/// Name of a column: its path in the schema, with `_` between the names. Names have no spaces at their ends, as in CSV and
/// JSON.
fn name(descriptor: &ColumnDescriptor) -> String {
    let parts: Vec<&str> = descriptor.path().parts().iter().map(|part| part.trim()).collect();
    parts.join("_")
}

/// Values of a column.
#[derive(Clone, Copy)]
enum Values {
    Number,
    /// Unsigned integer, in the bits of a signed one.
    Unsigned,
    /// 16-bit floating-point number.
    Half,
    Uuid,
    /// Decimal with this number of fractional digits.
    Decimal(i32),
    /// Days since 1970.
    Date,
    /// Nanoseconds per unit; units since 1970.
    Timestamp(i64),
    Text,
}

/// Values of a column; `None` for types that are not supported.
fn values(descriptor: &ColumnDescriptor) -> Option<Values> {
    if descriptor.max_rep_level() > 0 {
        return None;
    }
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::MILLIS => 1_000_000,
        TimeUnit::MICROS => 1_000,
        TimeUnit::NANOS => 1,
    };
    if let Some(logical) = descriptor.logical_type_ref() {
        return match logical {
            LogicalType::Timestamp(time) => Some(Values::Timestamp(unit(&time.unit))),
            LogicalType::Date => Some(Values::Date),
            LogicalType::Decimal(decimal) => Some(Values::Decimal(decimal.scale)),
            LogicalType::String | LogicalType::Enum | LogicalType::Json => Some(Values::Text),
            LogicalType::Uuid => Some(Values::Uuid),
            LogicalType::Float16 => Some(Values::Half),
            LogicalType::Integer(integer) if !integer.is_signed => Some(Values::Unsigned),
            // A column of nulls only has an unknown type.
            LogicalType::Integer(_) | LogicalType::Unknown => Some(Values::Number),
            _ => None,
        };
    }
    match descriptor.converted_type() {
        ConvertedType::TIMESTAMP_MILLIS => Some(Values::Timestamp(1_000_000)),
        ConvertedType::TIMESTAMP_MICROS => Some(Values::Timestamp(1_000)),
        ConvertedType::DATE => Some(Values::Date),
        ConvertedType::DECIMAL => Some(Values::Decimal(descriptor.type_scale())),
        ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON => Some(Values::Text),
        ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64 => {
            Some(Values::Unsigned)
        }
        ConvertedType::NONE
        | ConvertedType::INT_8
        | ConvertedType::INT_16
        | ConvertedType::INT_32
        | ConvertedType::INT_64 => Some(Values::Number),
        _ => None,
    }
}

/// Every `step`-th column of a row group.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowGroup {
    pub group: usize,
    pub first: usize,
    pub step: usize,
}

/// Reads columns of a row group. Only the last part returns the number of rows, so that rows count once, and after all
/// findings about them.
pub(super) fn read<S: Sink>(sink: &mut S, file: &File, part: RowGroup, notebook: &mut Notebook) -> Result<u64, Failed> {
    let group = guarded(|| file.reader.get_row_group(part.group)).map_err(Failed::File)?;
    let rows = u64::try_from(group.metadata().num_rows()).unwrap_or(0);
    for at in 0..group.num_columns() {
        let descriptor = group.metadata().column(at).column_descr_ptr();
        let name = name(&descriptor);
        // Every part registers all columns, so that their order is that of the file, however the parts are merged.
        let place = sink.column(&name)?;
        if at % part.step != part.first {
            continue;
        }
        let Some(values) = values(&descriptor) else {
            if part.group == 0 {
                notebook.note_at(Kind::UnknownType, Place::Object, Some(&name), || {
                    match descriptor.max_rep_level() {
                        0 => format!("values of type {} are not supported", type_name(&descriptor)),
                        _ => "lists are not supported".to_owned(),
                    }
                });
            }
            continue;
        };
        let mut column = Column {
            sink,
            place,
            name: &name,
            nullable: descriptor.max_def_level(),
            notebook,
            row: 0,
        };
        let at_fault = |why: String| {
            let number = part.group + 1;
            Failed::File(format!("column `{name}`: failed to read row group {number}: {why}"))
        };
        let read = guarded(|| {
            group
                .get_column_reader(at)
                .and_then(|reader| column.read(reader, values))
        });
        read.map_err(at_fault)?;
        if column.row != rows {
            return Err(at_fault(format!("found {} values in {rows} rows", column.row)));
        }
    }
    let counted = if part.first + 1 == part.step { rows } else { 0 };
    sink.rows(counted);
    Ok(counted)
}

/// Type of a column, for messages.
fn type_name(descriptor: &ColumnDescriptor) -> String {
    match (descriptor.converted_type(), descriptor.logical_type_ref()) {
        (ConvertedType::NONE, Some(logical)) => format!("{logical:?}"),
        (ConvertedType::NONE, None) => descriptor.physical_type().to_string(),
        (converted, _) => converted.to_string(),
    }
}

struct Column<'a, S> {
    sink: &'a mut S,
    place: usize,
    name: &'a str,
    /// Definition level at which a value is not null.
    nullable: i16,
    notebook: &'a mut Notebook,
    row: u64,
}

impl<S: Sink> Column<'_, S> {
    fn read(&mut self, reader: ColumnReader, values: Values) -> Result<(), ParquetError> {
        match reader {
            ColumnReader::BoolColumnReader(reader) => self.batches(reader, |column, value| {
                column.text(if *value { b"true" } else { b"false" });
            }),
            ColumnReader::Int32ColumnReader(reader) => self.batches(reader, |column, value| {
                let value = match values {
                    Values::Unsigned => i64::from(value.cast_unsigned()),
                    _ => i64::from(*value),
                };
                column.integer(value, values);
            }),
            ColumnReader::Int64ColumnReader(reader) => {
                self.batches(reader, |column, value| column.integer(*value, values))
            }
            ColumnReader::Int96ColumnReader(reader) => self.batches(reader, |column, value| {
                column.integer(value.to_millis(), Values::Timestamp(1_000_000));
            }),
            ColumnReader::FloatColumnReader(reader) => {
                self.batches(reader, |column, value| column.double(f64::from(*value)))
            }
            ColumnReader::DoubleColumnReader(reader) => self.batches(reader, |column, value| column.double(*value)),
            ColumnReader::ByteArrayColumnReader(reader) => {
                self.batches(reader, |column, value| column.bytes(value, values))
            }
            ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                self.batches(reader, |column, value| column.bytes(value, values))
            }
        }
    }

    /// Reads the column to its end, batch by batch.
    fn batches<T: DataType>(
        &mut self,
        mut reader: ColumnReaderImpl<T>,
        mut put: impl FnMut(&mut Self, &T::T),
    ) -> Result<(), ParquetError> {
        let (mut values, mut levels) = (Vec::with_capacity(BATCH_ROWS), Vec::with_capacity(BATCH_ROWS));
        loop {
            values.clear();
            levels.clear();
            let (records, _, _) = reader.read_records(BATCH_ROWS, Some(&mut levels), None, &mut values)?;
            if records == 0 {
                return Ok(());
            }
            if self.nullable == 0 {
                for value in &values {
                    put(self, value);
                    self.row += 1;
                }
                continue;
            }
            let mut present = values.iter();
            for level in &levels {
                match (*level == self.nullable).then(|| present.next()).flatten() {
                    Some(value) => put(self, value),
                    None => self.sink.null(self.place),
                }
                self.row += 1;
            }
        }
    }

    fn integer(&mut self, value: i64, values: Values) {
        match values {
            Values::Number | Values::Text | Values::Half | Values::Uuid => self.sink.integer(self.place, value),
            Values::Unsigned => match i64::try_from(value.cast_unsigned()) {
                Ok(value) => self.sink.integer(self.place, value),
                #[expect(clippy::cast_precision_loss, reason = "no integer of 64 bits holds it")]
                Err(_) => self.double(value.cast_unsigned() as f64),
            },
            #[expect(clippy::cast_precision_loss, reason = "statistics are doubles")]
            Values::Decimal(scale) => self.double(value as f64 / 10f64.powi(scale)),
            Values::Date => {
                let date = i32::try_from(value).ok().and_then(|days| {
                    let days = SignedDuration::from_hours(24 * i64::from(days));
                    Date::constant(1970, 1, 1).checked_add(days).ok()
                });
                self.shown(date.map(|date| date.to_string()), value);
            }
            Values::Timestamp(nanoseconds) => {
                let time = Timestamp::from_nanosecond(i128::from(value) * i128::from(nanoseconds));
                self.shown(time.ok().map(|time| time.to_string()), value);
            }
        }
    }

    /// Time as a string, or its number if it is outside of the calendar.
    fn shown(&mut self, text: Option<String>, value: i64) {
        self.text(text.unwrap_or_else(|| value.to_string()).as_bytes());
    }

    fn double(&mut self, value: f64) {
        if let Some(issue) = self.sink.double(self.place, value) {
            self.notebook
                .note_issue(issue, self.row, self.name, format!("{value}").as_bytes());
        }
    }

    fn bytes(&mut self, value: &impl AsRef<[u8]>, values: Values) {
        let bytes = value.as_ref();
        match values {
            Values::Decimal(scale) => {
                // Big-endian, two's complement. Beyond 128 bits, the computation uses doubles.
                let negative = bytes.first().is_some_and(|byte| *byte & 0x80 != 0);
                let begun: i128 = if negative { -1 } else { 0 };
                #[expect(clippy::cast_precision_loss, reason = "statistics are doubles")]
                let unscaled = if bytes.len() <= 16 {
                    bytes.iter().fold(begun, |value, byte| (value << 8) | i128::from(*byte)) as f64
                } else {
                    let begun = begun as f64;
                    bytes.iter().fold(begun, |value, byte| value * 256.0 + f64::from(*byte))
                };
                self.double(unscaled / 10f64.powi(scale));
            }
            Values::Half => match bytes {
                [low, high] => self.double(half(u16::from_le_bytes([*low, *high]))),
                _ => self.sink.null(self.place),
            },
            Values::Uuid if bytes.len() == 16 => {
                let mut text = String::with_capacity(36);
                for (at, byte) in bytes.iter().enumerate() {
                    if matches!(at, 4 | 6 | 8 | 10) {
                        text.push('-');
                    }
                    for digit in [byte >> 4, byte & 15] {
                        text.extend(char::from_digit(u32::from(digit), 16));
                    }
                }
                self.text(text.as_bytes());
            }
            _ if bytes.is_empty() => self.sink.null(self.place),
            _ => self.text(bytes),
        }
    }

    fn text(&mut self, text: &[u8]) {
        if let Some(issue) = self.sink.text(self.place, text) {
            self.notebook.note_issue(issue, self.row, self.name, text);
        }
    }
}

/// 16-bit floating-point number (IEEE 754, binary16).
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from((bits >> 10) & 0x1f), f64::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        0x1f if fraction > 0.0 => f64::NAN,
        0x1f => f64::INFINITY,
        _ => (fraction + 1024.0) * 2f64.powi(exponent - 25),
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, ColumnDescriptor, half, name};
    use parquet::schema::types::{ColumnPath, Type as SchemaType};

    #[test]
    fn names_have_no_spaces_at_their_ends() {
        let column = SchemaType::primitive_type_builder("b ", parquet::basic::Type::INT32)
            .build()
            .unwrap();
        let path = ColumnPath::new(vec![" a".to_owned(), "b ".to_owned()]);
        let descriptor = ColumnDescriptor::new(Arc::new(column), 0, 0, path);
        assert_eq!(name(&descriptor), "a_b");
    }

    #[test]
    fn half_floats_match_ieee_754() {
        for (bits, value) in [
            (0x0000, 0.0),
            (0x0001, 5.960_464_477_539_063e-8),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x3555, 0.333_251_953_125),
            (0xfc00, f64::NEG_INFINITY),
        ] {
            assert_eq!(half(bits).to_bits(), f64::to_bits(value), "{bits:x}");
        }
        assert!(half(0x7c01).is_nan());
    }
}

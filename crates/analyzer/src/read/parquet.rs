//! Parquet, column by column. Nested lists are not analysed.

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

/// So many rows are read at once.
const BATCH: usize = 8192;

/// A file, opened.
pub(super) struct File {
    reader: SerializedFileReader<Shared>,
}

/// A file that several threads read at places of their own: duplicated handles would share one place.
struct Shared {
    file: Arc<Mutex<std::fs::File>>,
    bytes: u64,
}

/// A place in a shared file.
struct At {
    file: Arc<Mutex<std::fs::File>>,
    at: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut file = self
            .file
            .lock()
            .map_err(|_| io::Error::other("a thread that read the file died"))?;
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
        // What a broken file says of its lengths is not to be believed.
        let end = start.checked_add(length as u64);
        if end.is_none_or(|end| end > self.bytes) {
            return Err(ParquetError::EOF(format!(
                "{length} bytes are said to be at {start}, and the file has {}",
                self.bytes
            )));
        }
        let mut bytes = vec![0; length];
        self.get_read(start)?.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// Why reading failed.
pub(super) enum Failed {
    TooManyColumns(TooManyColumns),
    File(String),
}

impl From<TooManyColumns> for Failed {
    fn from(error: TooManyColumns) -> Self {
        Self::TooManyColumns(error)
    }
}

/// Does something with a file that may be broken, of which the parquet crate panics at some. Nothing that was being
/// changed is used after that: the error ends the reading.
fn guarded<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(_) => Err("it is broken".to_owned()),
    }
}

impl File {
    pub(super) fn open(file: std::fs::File) -> Result<Self, String> {
        let bytes = file.metadata().map_err(|error| error.to_string())?.len();
        let file = Arc::new(Mutex::new(file));
        let reader = guarded(|| SerializedFileReader::new(Shared { file, bytes }))
            .map_err(|error| format!("it begins as a Parquet file and is none, or not whole: {error}"))?;
        let mut names = BTreeSet::new();
        for column in reader.metadata().file_metadata().schema_descr().columns() {
            let name = name(column);
            if names.contains(&name) {
                return Err(format!("two columns are called `{name}`: rename one"));
            }
            names.insert(name);
        }
        Ok(Self { reader })
    }

    pub(super) fn row_groups(&self) -> usize {
        self.reader.num_row_groups()
    }
}

/// What a column is called: its path in the schema with `_` between the names.
fn name(descriptor: &ColumnDescriptor) -> String {
    descriptor.path().parts().join("_")
}

/// What the values of a column are.
#[derive(Clone, Copy)]
enum Values {
    Number,
    /// An integer without a sign, in the bits of one with.
    Unsigned,
    /// A number of 16 bits.
    Half,
    Uuid,
    /// A decimal with so many digits after the point.
    Decimal(i32),
    /// Days since 1970.
    Date,
    /// Nanoseconds in the unit, since 1970.
    Timestamp(i64),
    Text,
}

/// What the values of a column are; `None` for types that are not analysed.
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
            // A column of nulls alone is of unknown type.
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

/// Some columns of a row group: every so many of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowGroup {
    pub group: usize,
    pub first: usize,
    pub step: usize,
}

/// Reads columns of a row group. Says how many rows they have if they are its last part, so that rows count once, and
/// behind all findings about them.
pub(super) fn read<S: Sink>(sink: &mut S, file: &File, part: RowGroup, notebook: &mut Notebook) -> Result<u64, Failed> {
    let group = guarded(|| file.reader.get_row_group(part.group)).map_err(Failed::File)?;
    let rows = u64::try_from(group.metadata().num_rows()).unwrap_or(0);
    for at in 0..group.num_columns() {
        let descriptor = group.metadata().column(at).column_descr_ptr();
        let name = name(&descriptor);
        // Every part knows all columns, so that they are in the file's order however the parts are merged.
        let place = sink.column(&name)?;
        if at % part.step != part.first {
            continue;
        }
        let Some(values) = values(&descriptor) else {
            if part.group == 0 {
                notebook.note_at(Kind::UnknownType, Place::Object, Some(&name), || {
                    match descriptor.max_rep_level() {
                        0 => format!("values of type {} are not analysed", type_of(&descriptor)),
                        _ => "lists are not analysed".to_owned(),
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
            Failed::File(format!("column `{name}` cannot be read in row group {number}: {why}"))
        };
        let read = guarded(|| {
            group
                .get_column_reader(at)
                .and_then(|reader| column.read(reader, values))
        });
        read.map_err(at_fault)?;
        if column.row != rows {
            return Err(at_fault(format!("it has {} values in {rows} rows", column.row)));
        }
    }
    let counted = if part.first + 1 == part.step { rows } else { 0 };
    sink.rows(counted);
    Ok(counted)
}

/// The type of a column, for people.
fn type_of(descriptor: &ColumnDescriptor) -> String {
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
    /// The level at which a value is not null.
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
        let (mut values, mut levels) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        loop {
            values.clear();
            levels.clear();
            let (records, _, _) = reader.read_records(BATCH, Some(&mut levels), None, &mut values)?;
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

    /// A time as text, or its number if no calendar has it.
    fn shown(&mut self, text: Option<String>, value: i64) {
        self.text(text.unwrap_or_else(|| value.to_string()).as_bytes());
    }

    fn double(&mut self, value: f64) {
        if let Some(oddity) = self.sink.double(self.place, value) {
            self.notebook
                .odd(oddity, self.row, self.name, format!("{value}").as_bytes());
        }
    }

    fn bytes(&mut self, value: &impl AsRef<[u8]>, values: Values) {
        let bytes = value.as_ref();
        match values {
            Values::Decimal(scale) => {
                // Big-endian, in two's complement; beyond 128 bits as a double all the way.
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
        if let Some(oddity) = self.sink.text(self.place, text) {
            self.notebook.odd(oddity, self.row, self.name, text);
        }
    }
}

/// A number of 16 bits (IEEE 754, binary16).
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
    use super::half;

    #[test]
    fn halves_are_those_of_ieee_754() {
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

//! Objects of a dataset, wherever they are stored, and the format of each.

use flate2::read::MultiGzDecoder;
use std::{
    fmt,
    fs::File,
    io::{self, BufReader, Cursor, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Number of bytes from which the format is detected.
const PROBE_BYTES: usize = 64 * 1024;

/// First bytes of files that are not supported.
const UNSUPPORTED_FORMATS: [(&[u8], &str); 6] = [
    (&[0xff, 0xfe], "UTF-16 is not supported: convert the file to UTF-8"),
    (&[0xfe, 0xff], "UTF-16 is not supported: convert the file to UTF-8"),
    (
        b"PK\x03\x04",
        "zip archives and workbooks are not supported: unpack the file, or save it as CSV",
    ),
    (
        &[0x28, 0xb5, 0x2f, 0xfd],
        "zstd compression is not supported: use gzip or no compression",
    ),
    (
        b"BZh91AY&SY",
        "bzip2 compression is not supported: use gzip or no compression",
    ),
    (b"Obj\x01", "Avro is not supported: convert the file to Parquet"),
];

/// Opens an object for reading from its beginning.
type Open = Box<dyn FnOnce() -> io::Result<Box<dyn Read + Send>> + Send>;

/// Object of a dataset: a file, or an object in S3.
pub struct Object {
    /// Name in messages: path or URI.
    pub name: String,
    /// Size in bytes, if known; used for progress.
    pub bytes: Option<u64>,
    /// Counter of the bytes read.
    counter: Option<Arc<AtomicU64>>,
    content: Content,
}

enum Content {
    File(PathBuf),
    Stream(Open),
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("name", &self.name)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Object {
    /// Creates an object from a file.
    pub fn file(path: &Path) -> Self {
        Self {
            name: path.display().to_string(),
            bytes: path.metadata().ok().map(|metadata| metadata.len()),
            counter: None,
            content: Content::File(path.to_owned()),
        }
    }

    /// Creates an object from a reader.
    pub fn stream(
        name: impl Into<String>,
        bytes: Option<u64>,
        open: impl FnOnce() -> io::Result<Box<dyn Read + Send>> + Send + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            bytes,
            counter: None,
            content: Content::Stream(Box::new(open)),
        }
    }

    /// Counts the bytes that are read, before decompression.
    #[must_use]
    pub fn counted(mut self, counter: &Arc<AtomicU64>) -> Self {
        self.counter = Some(Arc::clone(counter));
        self
    }

    /// Opens the object and detects its format from its first bytes.
    pub(crate) fn open(self) -> io::Result<Opened> {
        let counter = self.counter.unwrap_or_default();
        let reader: Box<dyn Read + Send> = match self.content {
            Content::File(path) => {
                let mut file = File::open(path)?;
                let mut magic = Vec::new();
                read_up_to(&mut file, 4, &mut magic)?;
                if magic == b"PAR1" {
                    counter.fetch_add(self.bytes.unwrap_or_default(), Ordering::Relaxed);
                    return Ok(Opened::Parquet(file));
                }
                io::Seek::rewind(&mut file)?;
                Box::new(file)
            }
            Content::Stream(open) => open()?,
        };
        let mut reader: Box<dyn Read + Send> = Box::new(CountingReader { reader, counter });
        let mut probe = read_probe(&mut reader)?;
        if probe.starts_with(&[0x1f, 0x8b]) {
            let compressed = BufReader::with_capacity(PROBE_BYTES, Cursor::new(probe).chain(reader));
            reader = Box::new(MultiGzDecoder::new(compressed));
            probe = read_probe(&mut reader)?;
        }
        if probe.starts_with(b"PAR1") {
            // Parquet is read from its end, so a stream is first copied to a file.
            let mut file = tempfile::tempfile()?;
            io::copy(&mut Cursor::new(probe).chain(reader), &mut file)?;
            return Ok(Opened::Parquet(file));
        }
        if let Some((_, what)) = UNSUPPORTED_FORMATS.iter().find(|(magic, _)| probe.starts_with(magic)) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, *what));
        }
        if probe.starts_with(&[0xef, 0xbb, 0xbf]) {
            probe.drain(..3);
        }
        // The object can begin with any number of empty lines.
        while probe.iter().all(|byte| b" \r\n".contains(byte)) {
            probe = read_probe(&mut reader)?;
            if probe.is_empty() {
                return Ok(Opened::Empty);
            }
        }
        let lines = match probe.trim_ascii_start().first() {
            Some(b'{' | b'[') => Lines::Json,
            _ => Lines::Csv,
        };
        Ok(Opened::Lines(lines, probe, reader))
    }
}

/// Reader that counts bytes.
struct CountingReader {
    reader: Box<dyn Read + Send>,
    counter: Arc<AtomicU64>,
}

impl Read for CountingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.counter.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Formats that are read line by line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lines {
    Csv,
    Json,
}

/// Opened object.
pub(crate) enum Opened {
    /// It is empty.
    Empty,
    /// Bytes that the format was detected from, and the rest.
    Lines(Lines, Vec<u8>, Box<dyn Read + Send>),
    Parquet(File),
}

/// Next bytes, as many as the format detection needs.
fn read_probe(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    read_up_to(reader, PROBE_BYTES, &mut bytes)?;
    Ok(bytes)
}

/// Appends that many bytes, fewer if the input ends.
pub(crate) fn read_up_to(reader: &mut impl Read, count: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.reserve(count);
    reader.take(count as u64).read_to_end(bytes)?;
    Ok(())
}

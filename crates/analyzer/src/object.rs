//! The objects that a dataset is made of, wherever they lie, and what format each is in.

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

/// So much of an object's beginning tells its format.
const PROBE: usize = 64 * 1024;

/// How files begin that are no datasets, or that are not read.
const REFUSED: [(&[u8], &str); 6] = [
    (&[0xff, 0xfe], "it is UTF-16: write UTF-8"),
    (&[0xfe, 0xff], "it is UTF-16: write UTF-8"),
    (
        b"PK\x03\x04",
        "it is a zip archive or a workbook: unpack it, or save it as CSV",
    ),
    (
        &[0x28, 0xb5, 0x2f, 0xfd],
        "it is compressed by zstd: only gzip is unpacked",
    ),
    (b"BZh91AY&SY", "it is compressed by bzip2: only gzip is unpacked"),
    (b"Obj\x01", "it is Avro: write Parquet"),
];

/// Opens an object to be read from its beginning.
type Open = Box<dyn FnOnce() -> io::Result<Box<dyn Read + Send>> + Send>;

/// An object of a dataset: a file, or an object in S3.
pub struct Object {
    /// What messages call it: its path, or its URI.
    pub name: String,
    /// Its size in bytes, if it is known: what progress is told by.
    pub bytes: Option<u64>,
    /// Where the bytes that were read are counted.
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
    /// A file.
    pub fn file(path: &Path) -> Self {
        Self {
            name: path.display().to_string(),
            bytes: path.metadata().ok().map(|metadata| metadata.len()),
            counter: None,
            content: Content::File(path.to_owned()),
        }
    }

    /// Anything that can be read.
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

    /// Counts the bytes that are read of it, as they lie there.
    #[must_use]
    pub fn counted(mut self, counter: &Arc<AtomicU64>) -> Self {
        self.counter = Some(Arc::clone(counter));
        self
    }

    /// Opens the object and tells its format from its beginning.
    pub(crate) fn open(self) -> io::Result<Opened> {
        let counter = self.counter.unwrap_or_default();
        let reader: Box<dyn Read + Send> = match self.content {
            Content::File(path) => {
                let mut file = File::open(path)?;
                let mut magic = [0; 4];
                let read = read_up_to(&mut file, &mut magic)?;
                if magic.get(..read) == Some(b"PAR1") {
                    counter.fetch_add(self.bytes.unwrap_or_default(), Ordering::Relaxed);
                    return Ok(Opened::Parquet(file));
                }
                io::Seek::rewind(&mut file)?;
                Box::new(file)
            }
            Content::Stream(open) => open()?,
        };
        let mut reader: Box<dyn Read + Send> = Box::new(Counted { reader, counter });
        let mut probe = beginning(&mut reader)?;
        if probe.starts_with(&[0x1f, 0x8b]) {
            let compressed = BufReader::with_capacity(PROBE, Cursor::new(probe).chain(reader));
            reader = Box::new(MultiGzDecoder::new(compressed));
            probe = beginning(&mut reader)?;
        }
        if probe.starts_with(b"PAR1") {
            // Parquet is read from its end: what comes as a stream is put into a file first.
            let mut file = tempfile::tempfile()?;
            io::copy(&mut Cursor::new(probe).chain(reader), &mut file)?;
            return Ok(Opened::Parquet(file));
        }
        if let Some((_, what)) = REFUSED.iter().find(|(magic, _)| probe.starts_with(magic)) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, *what));
        }
        if probe.starts_with(&[0xef, 0xbb, 0xbf]) {
            probe.drain(..3);
        }
        // However many empty lines it begins with.
        while probe.iter().all(|byte| b" \r\n".contains(byte)) {
            probe = beginning(&mut reader)?;
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

/// Counts what is read.
struct Counted {
    reader: Box<dyn Read + Send>,
    counter: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.counter.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// The formats that are read line by line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lines {
    Csv,
    Json,
}

/// An object, opened.
pub(crate) enum Opened {
    /// Nothing is in it.
    Empty,
    /// The lines that were looked at, and the rest.
    Lines(Lines, Vec<u8>, Box<dyn Read + Send>),
    Parquet(File),
}

/// What comes next, as much as tells the format.
fn beginning(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; PROBE];
    let read = read_up_to(reader, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Reads until the buffer is full or there is no more.
pub(crate) fn read_up_to(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

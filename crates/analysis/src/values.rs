//! Distinct values of a column with exact counts, as long as they are few.

use crate::cell::{Class, classify};
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// Maximum length of a value that is kept. A longer one is replaced by its prefix and its hash: still distinct, but not
/// complete.
const MAX_VALUE_BYTES: usize = 256;

/// Hash that identifies values. It is the same on every machine, because partial profiles are merged.
pub fn hash(value: &[u8]) -> u64 {
    xxh3_64(value)
}

/// Form in which a value was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    /// A string.
    Text,
    /// A 64-bit integer, as bytes.
    Integer,
    /// A double, as bytes.
    Double,
}

/// A distinct value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Value {
    hash: u64,
    start: u32,
    length: u16,
    pub form: Form,
    pub class: Class,
    /// Whether it is a string that is not UTF-8.
    not_utf8: bool,
    /// Number of the value; NaN if it is not a number.
    pub number: f64,
    pub count: u64,
}

impl Value {
    /// Issue of the value. A number that is not finite is never kept.
    pub(crate) fn issue(&self) -> Option<ValueIssue> {
        self.not_utf8.then_some(ValueIssue::NotUtf8)
    }
}

/// Issue of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueIssue {
    /// A string that is not UTF-8.
    NotUtf8,
    /// A number that is NaN or outside the range of a double.
    NotFinite,
}

/// Short string as two words and its length, for comparison without its bytes.
type Short = (u64, u64, usize);

/// Words of a string of 1 to 16 bytes.
#[inline]
fn short(text: &[u8]) -> Option<Short> {
    let (low, high) = match text.len() {
        8..=16 => (
            u64::from_le_bytes(*text.first_chunk()?),
            u64::from_le_bytes(*text.last_chunk()?),
        ),
        4..=7 => (
            u32::from_le_bytes(*text.first_chunk()?).into(),
            u32::from_le_bytes(*text.last_chunk()?).into(),
        ),
        2..=3 => (
            u16::from_le_bytes(*text.first_chunk()?).into(),
            u16::from_le_bytes(*text.last_chunk()?).into(),
        ),
        1 => ((*text.first()?).into(), 0),
        _ => return None,
    };
    Some((low, high, text.len()))
}

/// Number of recent short strings that are found without hashing: most columns repeat values.
const RECENT_VALUES: usize = 256;

/// Index of a short string among the recent ones.
fn slot((low, high, _): Short) -> usize {
    let mixed = (low ^ high.rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as usize
}

/// Distinct values of a column, in order of first occurrence.
#[derive(Debug, Clone, Default)]
pub(crate) struct Values {
    table: HashTable<u32>,
    list: Vec<Value>,
    bytes: Vec<u8>,
    /// Recent short strings with their index in the list; empty until the first.
    recent: Vec<(Short, u32)>,
}

impl Values {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &Value)> {
        self.list.iter().map(|value| (self.key(value), value))
    }

    fn key(&self, value: &Value) -> &[u8] {
        let start = value.start as usize;
        self.bytes
            .get(start..start + usize::from(value.length))
            .unwrap_or_default()
    }

    /// Index of a string, if it is known.
    pub(crate) fn find_text(&mut self, text: &[u8]) -> Option<&mut Value> {
        let Some(short) = short(text) else {
            return self.find(hash(text), Form::Text, text);
        };
        let slot = slot(short);
        if let Some((known, at)) = self.recent.get(slot)
            && *known == short
        {
            return self.list.get_mut(*at as usize);
        }
        let at = self.place(hash(text), Form::Text, text)?;
        if self.recent.is_empty() {
            self.recent.resize(RECENT_VALUES, ((0, 0, 0), 0));
        }
        if let Some(recent) = self.recent.get_mut(slot) {
            *recent = (short, at);
        }
        self.list.get_mut(at as usize)
    }

    /// Index of a value, if it is known.
    pub(crate) fn find(&mut self, hash: u64, form: Form, key: &[u8]) -> Option<&mut Value> {
        let at = self.place(hash, form, key)?;
        self.list.get_mut(at as usize)
    }

    fn place(&self, hash: u64, form: Form, key: &[u8]) -> Option<u32> {
        let same = |at: &u32| {
            self.list
                .get(*at as usize)
                .is_some_and(|value| value.hash == hash && value.form == form && self.key(value) == key)
        };
        self.table.find(hash, same).copied()
    }

    /// Adds a new value. The caller limits their number.
    pub(crate) fn insert(&mut self, hash: u64, form: Form, key: &[u8], (class, number): (Class, f64), count: u64) {
        let (Ok(start), Ok(length), Ok(at)) = (
            u32::try_from(self.bytes.len()),
            u16::try_from(key.len()),
            u32::try_from(self.list.len()),
        ) else {
            return;
        };
        self.bytes.extend_from_slice(key);
        self.list.push(Value {
            hash,
            start,
            length,
            form,
            class,
            not_utf8: class == Class::String && std::str::from_utf8(key).is_err(),
            number,
            count,
        });
        let list = &self.list;
        self.table
            .insert_unique(hash, at, |at| list.get(*at as usize).map_or(0, |value| value.hash));
    }

    /// Adds to the count of a value, known or new.
    pub(crate) fn add(&mut self, form: Form, key: &[u8], class: (Class, f64), count: u64) {
        let hash = hash(key);
        match self.find(hash, form, key) {
            Some(value) => value.count += count,
            None => self.insert(hash, form, key, class, count),
        }
    }

    /// Keeps the values that pass a test.
    pub(crate) fn retain(&mut self, keep: impl Fn(&mut Value) -> bool) {
        let old = std::mem::take(self);
        for value in &old.list {
            let mut value = *value;
            if keep(&mut value) {
                self.insert(
                    value.hash,
                    value.form,
                    old.key(&value),
                    (value.class, value.number),
                    value.count,
                );
            }
        }
    }
}

/// Key under which a string is kept, with its issue.
pub(crate) fn key(text: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if text.len() <= MAX_VALUE_BYTES {
        return text.into();
    }
    // The cut is between characters, so that a prefix of UTF-8 is UTF-8.
    let cut = (0..MAX_VALUE_BYTES - 32)
        .rev()
        .find(|at| text.get(*at).is_some_and(|byte| byte & 0xc0 != 0x80))
        .unwrap_or(0);
    let mut key = text.get(..cut).unwrap_or_default().to_vec();
    key.extend_from_slice(format!("… ({:016x})", hash(text)).as_bytes());
    key.into()
}

/// Hash of the key of a string, from the string itself.
pub(crate) fn key_hash(text: &[u8], hash_of_text: u64) -> u64 {
    if text.len() <= MAX_VALUE_BYTES {
        hash_of_text
    } else {
        hash(&key(text))
    }
}

/// Class and number of a string, and its issue.
pub(crate) fn classify_value(text: &[u8]) -> ((Class, f64), Option<ValueIssue>) {
    let (class, number) = classify(text);
    let issue = match class {
        Class::String if std::str::from_utf8(text).is_err() => Some(ValueIssue::NotUtf8),
        Class::Fractional | Class::Integral if !number.is_finite() => Some(ValueIssue::NotFinite),
        _ => None,
    };
    ((class, number), issue)
}

/// Value as a report shows it.
pub(crate) fn shown(key: &[u8], form: Form) -> String {
    let eight = |key: &[u8]| key.try_into().unwrap_or([0; 8]);
    match form {
        Form::Text => String::from_utf8_lossy(key).into_owned(),
        Form::Integer => i64::from_le_bytes(eight(key)).to_string(),
        Form::Double => format!("{:?}", f64::from_le_bytes(eight(key))),
    }
}

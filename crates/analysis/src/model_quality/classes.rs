//! Classes of a classification, by number.

use super::{ConfusionMatrix, MAX_CLASSES, ModelQualityError};
use std::{borrow::Cow, cmp::Ordering, collections::HashMap};

/// Class names with numbers; rows contain the numbers.
///
/// Names are strings. A string that is an integer followed by a fraction of zeros becomes the integer, because models
/// answer `1.0` where the ground truth has `1`. All other strings are unchanged.
#[derive(Debug, Clone, Default)]
pub struct Classes {
    names: Vec<String>,
    ids: HashMap<String, u32>,
}

impl Classes {
    /// Number of the class with this name, which is added if it is new.
    pub fn intern(&mut self, name: &str) -> u32 {
        let name = canonical(name);
        if let Some(id) = self.ids.get(name.as_ref()) {
            return *id;
        }
        let id = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name.clone().into_owned());
        self.ids.insert(name.into_owned(), id);
        id
    }

    /// Number of classes.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are no classes.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Name of a class.
    pub fn name(&self, id: u32) -> Option<&str> {
        let at = usize::try_from(id).ok()?;
        self.names.get(at).map(String::as_str)
    }

    /// Names in sort order: numeric if all are numbers, otherwise as strings.
    pub fn sorted(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.names.iter().map(String::as_str).collect();
        let numbers: Option<Vec<f64>> = names.iter().map(|name| number(name)).collect();
        match numbers {
            Some(_) => names.sort_by(|a, b| {
                let by_number = number(a).partial_cmp(&number(b)).unwrap_or(Ordering::Equal);
                by_number.then_with(|| a.cmp(b))
            }),
            None => names.sort_unstable(),
        }
        names
    }

    /// Names in sort order, and the rank of each class number.
    pub(super) fn ranks(&self) -> (Vec<String>, Vec<usize>) {
        let names = self.sorted();
        let mut ranks = vec![0; names.len()];
        for (rank, name) in names.iter().enumerate() {
            let id = self.ids.get(*name).and_then(|id| usize::try_from(*id).ok());
            if let Some(place) = id.and_then(|id| ranks.get_mut(id)) {
                *place = rank;
            }
        }
        (names.into_iter().map(str::to_owned).collect(), ranks)
    }

    /// These classes as those of a binary classification.
    ///
    /// The positive class is `positive` if given, otherwise the last in sort order: `1` of 0 and 1, `true`, `yes`. If
    /// there is only one class, its counterpart comes from the usual pairs, such as 0 and 1, −1 and 1, false and true,
    /// no and yes. For other classes, `positive` must be given.
    ///
    /// # Errors
    /// Fails if there are more than two classes or none, if `positive` is not one of two, or if a single class may be
    /// either.
    pub fn binary(&mut self, positive: Option<&str>) -> Result<TwoClasses, ModelQualityError> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let names = self.sorted();
        let positive = positive.map(canonical);
        let (negative, positive) = match (names.as_slice(), positive.as_deref()) {
            ([], _) => return Err(ModelQualityError::NoRows),
            ([first, last], None) => ((*first).to_owned(), (*last).to_owned()),
            ([first, last], Some(positive)) if *first == positive => ((*last).to_owned(), positive.to_owned()),
            ([first, last], Some(positive)) if *last == positive => ((*first).to_owned(), positive.to_owned()),
            ([one], None) => usual_pair(one)?,
            ([one], Some(positive)) if *one == positive => {
                let negative = usual_pair(one).map(|(negative, _)| negative);
                // Name of a class without rows. It occurs in the confusion matrix only.
                (
                    negative.unwrap_or_else(|_| format!("not {positive}")),
                    positive.to_owned(),
                )
            }
            ([one], Some(positive)) => ((*one).to_owned(), positive.to_owned()),
            (classes @ [_, _], Some(positive)) => {
                return Err(ModelQualityError::PositiveNotFound {
                    positive: positive.to_owned(),
                    classes: owned(classes),
                });
            }
            (classes, _) => {
                return Err(ModelQualityError::NotBinary {
                    classes: owned(classes),
                });
            }
        };
        Ok(TwoClasses {
            negative_id: self.intern(&negative),
            positive_id: self.intern(&positive),
            negative,
            positive,
        })
    }
}

/// Classes of a binary classification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwoClasses {
    negative: String,
    positive: String,
    negative_id: u32,
    positive_id: u32,
}

impl TwoClasses {
    /// Class numbers: negative, positive.
    pub(super) fn ids(&self) -> [u32; 2] {
        [self.negative_id, self.positive_id]
    }

    /// Name of the negative class.
    pub fn negative(&self) -> &str {
        &self.negative
    }

    /// Name of the positive class.
    pub fn positive(&self) -> &str {
        &self.positive
    }

    /// Whether a class number is the positive class.
    pub(super) fn is_positive(&self, field: &'static str, row: usize, id: u32) -> Result<bool, ModelQualityError> {
        if id == self.positive_id {
            Ok(true)
        } else if id == self.negative_id {
            Ok(false)
        } else {
            Err(ModelQualityError::UnknownClass { field, row, id })
        }
    }
}

impl ConfusionMatrix {
    /// An empty string.
    pub(super) fn new(classes: Vec<String>) -> Result<Self, ModelQualityError> {
        let len = classes.len();
        if len > MAX_CLASSES {
            return Err(ModelQualityError::TooManyClasses { classes: len });
        }
        Ok(Self {
            classes,
            counts: vec![0; len * len],
        })
    }
}

/// Pairs in which one class determines the other: negative, positive.
const PAIRS: [(&str, &str); 12] = [
    ("0", "1"),
    ("-1", "1"),
    ("false", "true"),
    ("False", "True"),
    ("FALSE", "TRUE"),
    ("no", "yes"),
    ("No", "Yes"),
    ("NO", "YES"),
    ("n", "y"),
    ("N", "Y"),
    ("f", "t"),
    ("F", "T"),
];

fn usual_pair(class: &str) -> Result<(String, String), ModelQualityError> {
    let pair = PAIRS
        .iter()
        .find(|(negative, positive)| class == *negative || class == *positive);
    let (negative, positive) = pair.ok_or_else(|| ModelQualityError::PositiveUnknown {
        class: class.to_owned(),
    })?;
    Ok(((*negative).to_owned(), (*positive).to_owned()))
}

/// Class name in normal form: `1.0` becomes `1`.
fn canonical(name: &str) -> Cow<'_, str> {
    let Some((whole, fraction)) = name.split_once('.') else {
        return Cow::Borrowed(name);
    };
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let is_whole = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let is_zero = !fraction.is_empty() && fraction.bytes().all(|b| b == b'0');
    match (is_whole && is_zero, whole) {
        (true, "-0") => Cow::Borrowed("0"),
        (true, whole) => Cow::Borrowed(whole),
        (false, _) => Cow::Borrowed(name),
    }
}

/// Class name as a finite number.
fn number(name: &str) -> Option<f64> {
    name.parse::<f64>().ok().filter(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(names: &[&str]) -> Classes {
        let mut classes = Classes::default();
        for name in names {
            classes.intern(name);
        }
        classes
    }

    fn positive(names: &[&str], positive: Option<&str>) -> String {
        match classes(names).binary(positive) {
            Ok(two) => format!("{} < {}", two.negative(), two.positive()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn positive_class_is_last_in_sort_order() {
        assert_eq!(positive(&["1", "0"], None), "0 < 1");
        assert_eq!(positive(&["10", "9"], None), "9 < 10");
        assert_eq!(positive(&["1", "-1"], None), "-1 < 1");
        assert_eq!(positive(&["yes", "no"], None), "no < yes");
        assert_eq!(positive(&["good", "bad"], Some("bad")), "good < bad");
        assert_eq!(positive(&["1.0", "0"], Some("0.0")), "1 < 0");
    }

    #[test]
    fn single_class_gets_its_counterpart() {
        assert_eq!(positive(&["0"], None), "0 < 1");
        assert_eq!(positive(&["1"], None), "0 < 1");
        assert_eq!(positive(&["-1"], None), "-1 < 1");
        assert_eq!(positive(&["True"], None), "False < True");
        assert_eq!(positive(&["cat"], Some("cat")), "not cat < cat");
        assert_eq!(positive(&["cat"], Some("dog")), "cat < dog");
        assert_eq!(
            positive(&["cat"], None),
            "label and prediction have only the value `cat`: set the positive class"
        );
    }

    #[test]
    fn error_names_classes_if_not_two() {
        assert_eq!(
            positive(&["2", "0", "1"], None),
            "label and prediction have the values `0`, `1`, `2`: expected two classes; set the problem type to \
             MulticlassClassification, or map the values to two classes"
        );
        assert_eq!(
            positive(&["a", "b"], Some("c")),
            "the positive class `c` is not among the values of label and prediction: `a`, `b`"
        );
        assert_eq!(positive(&[], None), "label has no values: expected at least one row");
    }

    #[test]
    fn integer_notations_are_one_class() {
        let cases = [
            ("1", "1"),
            ("1.0", "1"),
            ("-2.00", "-2"),
            ("-0.0", "0"),
            ("1.10", "1.10"),
            ("1.", "1."),
            (".0", ".0"),
            ("v1.0", "v1.0"),
            ("1.0.0", "1.0.0"),
            ("", ""),
        ];
        for (text, name) in cases {
            assert_eq!(canonical(text), name);
        }
    }
}

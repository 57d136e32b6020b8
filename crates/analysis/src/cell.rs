//! Class of a cell, by which Deequ infers the type of a column, and the number in the cell.
//!
//! Source: Deequ 2.0, `StatefulDataType`: `Fractional` is `^(-|\+)? ?\d+((\.\d+)|((?:\.\d+)?[Ee][-+]?\d+))$`,
//! `Integral` is `^(-|\+)? ?\d+$`, `Boolean` is `true` or `false`, everything else is a `String`.

use serde::{Deserialize, Serialize};

/// Class of a cell with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// A number with a fraction or an exponent.
    Fractional,
    /// An integer.
    Integral,
    /// `true` or `false`.
    Boolean,
    /// Any other string.
    String,
}

impl Class {
    /// The four classes, in the order of [`Class::index`].
    pub const ALL: [Self; 4] = [Self::Fractional, Self::Integral, Self::Boolean, Self::String];

    /// Index in tables by class.
    pub fn index(self) -> usize {
        match self {
            Self::Fractional => 0,
            Self::Integral => 1,
            Self::Boolean => 2,
            Self::String => 3,
        }
    }

    /// Whether cells of this class are numbers.
    pub fn is_number(self) -> bool {
        matches!(self, Self::Fractional | Self::Integral)
    }
}

/// Powers of ten that a double represents exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Class of a cell that is not empty, and its number; NaN for a class without a number. The number is the nearest
/// double, and infinite if it is too large.
pub fn classify(cell: &[u8]) -> (Class, f64) {
    number(cell).unwrap_or((
        if cell == b"true" || cell == b"false" {
            Class::Boolean
        } else {
            Class::String
        },
        f64::NAN,
    ))
}

/// Matches the two patterns of numbers and computes the value at the same time.
fn number(cell: &[u8]) -> Option<(Class, f64)> {
    let (negative, rest) = match cell {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, cell),
    };
    let digits = rest.strip_prefix(b" ").unwrap_or(rest);
    let mut mantissa: u64 = 0;
    let take = |mantissa: &mut u64, text: &[u8]| {
        let mut taken = 0;
        for byte in text {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
            taken += 1;
        }
        taken
    };
    let whole = take(&mut mantissa, digits);
    if whole == 0 {
        return None;
    }
    let mut rest = digits.get(whole..)?;
    let mut class = Class::Integral;
    let mut fraction = 0;
    if let [b'.', after @ ..] = rest {
        fraction = take(&mut mantissa, after);
        if fraction == 0 {
            return None;
        }
        class = Class::Fractional;
        rest = after.get(fraction..)?;
    }
    let mut exponent = false;
    if let [b'e' | b'E', after @ ..] = rest {
        let after = match after {
            [b'-' | b'+', after @ ..] => after,
            _ => after,
        };
        if after.is_empty() || !after.iter().all(u8::is_ascii_digit) {
            return None;
        }
        class = Class::Fractional;
        exponent = true;
        rest = &[];
    }
    if !rest.is_empty() {
        return None;
    }
    // If the mantissa and the power of ten are exact, one division rounds correctly (Clinger 1990). Otherwise the
    // standard library parses the string. 19 digits do not overflow.
    let value = match EXACT_POWERS.get(fraction) {
        #[expect(clippy::cast_precision_loss, reason = "it has at most 53 bits")]
        Some(power) if whole + fraction <= 19 && mantissa <= 1 << 53 && !exponent => mantissa as f64 / power,
        _ => std::str::from_utf8(digits).ok()?.parse().ok()?,
    };
    Some((class, if negative { -value } else { value }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cell_types_match_deequ() {
        let of = |class| {
            move |text: &str| {
                let (found, value) = classify(text.as_bytes());
                assert_eq!(found, class, "{text:?}");
                value
            }
        };
        for text in [
            "1",
            "-1",
            "+1",
            "- 1",
            "+ 1",
            " 1",
            "007",
            "123456789012345678901234567890",
        ] {
            let value = of(Class::Integral)(text);
            assert!(
                (value - text.replace(' ', "").parse::<f64>().unwrap()).abs() <= 0.0,
                "{text}"
            );
        }
        for text in [
            "1.5",
            "-0.1",
            "1e5",
            "1E-5",
            "1.25e+300",
            "- 3.0",
            "0.1234567890123456789",
            "00.10",
        ] {
            let value = of(Class::Fractional)(text);
            assert!(
                (value - text.replace(' ', "").parse::<f64>().unwrap()).abs() <= 0.0,
                "{text}"
            );
        }
        for text in ["true", "false"] {
            of(Class::Boolean)(text);
        }
        for text in [
            ".5", "5.", "NaN", "TRUE", "  1", "1 ", "1,000", "n/a", "-", "+", " ", "1e", "1e+", "1.e5", "--1", "1.5.2",
            "Infinity", "0x10", "١", "1_000", "-+1", "1e5.5", "\u{0}",
        ] {
            assert!(of(Class::String)(text).is_nan());
        }
        assert!(of(Class::Fractional)("1e999").is_infinite());
    }

    proptest! {
        #[test]
        fn printed_number_parses_to_same_value(value in any::<f64>().prop_filter("finite", |value| value.is_finite())) {
            for text in [format!("{value:?}"), format!("{value}"), format!("{value:e}")] {
                let (class, read) = classify(text.as_bytes());
                prop_assert!(class.is_number(), "{}", text);
                prop_assert_eq!(read.to_bits(), value.to_bits(), "{}", text);
            }
        }

        #[test]
        fn decimal_parsing_matches_standard_library(text in r"[-+]?[0-9]{1,20}(\.[0-9]{1,20})?") {
            let (class, read) = classify(text.as_bytes());
            prop_assert_eq!(class, if text.contains('.') { Class::Fractional } else { Class::Integral });
            prop_assert_eq!(read.to_bits(), text.parse::<f64>().unwrap().to_bits());
        }
    }
}

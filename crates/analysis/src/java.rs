//! Numbers as Java prints them: Model Monitor's descriptions contain the output of `Double.toString`.

/// A double as Java's `Double.toString` prints it: `1.0`, `0.001`, `1.0E7`, `5.092682820403929E-4`, `NaN`, `Infinity`.
///
/// The digits are the fewest that distinguish the double from its neighbors, at least two, as the documentation of
/// `java.lang.Double` specifies since Java 19; Java up to 18 sometimes printed one more. From 0.001 up to 10,000,000 in
/// plain notation, otherwise with an exponent.
pub fn java_double(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let value = value.abs();
    if value.is_infinite() {
        return format!("{sign}Infinity");
    }
    if (1e-3..1e7).contains(&value) || value <= 0.0 {
        // Rust's debug notation equals Java's here: the fewest digits, and always one after the point.
        return format!("{sign}{value:?}");
    }
    let shortest = format!("{value:e}");
    if shortest.contains('.') {
        return format!("{sign}{}", shortest.replace('e', "E"));
    }
    // If one digit is enough, Java uses the nearest number with two digits: 4.9E-324 where Rust prints 5e-324.
    format!("{sign}{}", format!("{value:.1e}").replace('e', "E"))
}

#[cfg(test)]
mod tests {
    use super::java_double;

    #[test]
    fn doubles_print_as_in_java() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-1.5, "-1.5"),
            (100.0, "100.0"),
            (0.001, "0.001"),
            (0.000_999_999_999_999_999_9, "9.999999999999998E-4"),
            (1e-5, "1.0E-5"),
            (9_999_999.0, "9999999.0"),
            (9_999_999.999_999_998, "9999999.999999998"),
            (1e7, "1.0E7"),
            (-12_345_678.9, "-1.23456789E7"),
            (1e10, "1.0E10"),
            (1e23, "1.0E23"),
            (2e23, "2.0E23"),
            (1.0 / 3.0, "0.3333333333333333"),
            (5.092_682_820_403_929e-4, "5.092682820403929E-4"),
            (f64::MIN_POSITIVE, "2.2250738585072014E-308"),
            (f64::from_bits(1), "4.9E-324"),
            (f64::MAX, "1.7976931348623157E308"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, text) in cases {
            assert_eq!(java_double(value), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn every_double_parses_to_same_value(bits: u64) {
            let value = f64::from_bits(bits);
            let text = java_double(value);
            if value.is_finite() {
                proptest::prop_assert!(text.contains('.'));
                proptest::prop_assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(bits));
            }
        }
    }
}

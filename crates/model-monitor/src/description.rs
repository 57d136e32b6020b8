//! Descriptions of violations, which contain the observed value and the threshold in prose.
//!
//! The wordings are those that Model Monitor and Clarify have used since 2019 and that AWS's samples parse. Any other
//! wording gives no values and is kept as a string. The comment above each branch shows its pattern.

use crate::{Quantity, quantity::number};

/// Observed value and threshold of a description.
pub(crate) type Values = (Option<Quantity>, Option<Quantity>);

/// Parses a description of any monitor type.
pub(crate) fn values(description: &str) -> Values {
    let text = description.trim();
    metric(text)
        .or_else(|| distance(text))
        .or_else(|| share(text))
        .or_else(|| columns(text))
        .or_else(|| plain(text))
        .unwrap_or((None, None))
}

/// Model quality: `Metric precision with 0.69 +/- 0.0089 was LessThanThreshold '1.0'`. Custom containers omit the
/// standard deviation and the quotes.
fn metric(text: &str) -> Option<Values> {
    let (_, rest) = text.strip_prefix("Metric ")?.split_once(" with ")?;
    let (value, threshold) = rest
        .split_once(" was LessThanThreshold ")
        .or_else(|| rest.split_once(" was GreaterThanThreshold "))?;
    let value = value.split(" +/- ").next().unwrap_or(value);
    Some((
        Some(Quantity::parse(value.trim())),
        Some(Quantity::parse(threshold.trim().trim_matches('\''))),
    ))
}

/// Data quality: `… distance: 0.27 exceeds threshold: 0.1`, also `… exceeds numerical threshold: 0`. Explainability:
/// `Feature attribution drift 0.76 exceeds threshold 0.9`.
fn distance(text: &str) -> Option<Values> {
    let (before, after) = text.split_once(" exceeds ")?;
    let observed = before
        .trim_end()
        .rsplit(|c: char| c.is_whitespace() || c == ':')
        .next()?;
    let (_, threshold) = after.split_once("threshold")?;
    let threshold = threshold.trim_start_matches(':').split_whitespace().next()?;
    numbers(observed, trimmed(threshold))
}

/// Data quality, missing and extra columns: `… Number of columns in current dataset: 8, Number of columns in baseline
/// constraints: 9`. Both values are numbers of columns.
fn columns(text: &str) -> Option<Values> {
    let (_, rest) = text.split_once("current dataset:")?;
    let (observed, rest) = rest.split_once(',')?;
    let (_, threshold) = rest.split_once("constraints:")?;
    numbers(observed.trim(), trimmed(threshold.split_whitespace().next()?))
}

fn numbers(observed: &str, threshold: &str) -> Option<Values> {
    Some((
        Some(Quantity::Number(number(observed)?)),
        Some(Quantity::Number(number(threshold)?)),
    ))
}

/// Data quality: `Data type match requirement is not met. Expected data type: Integral, Expected match: 100.0%.
/// Observed: Only 99.6% of data is Integral.` Both values are percentages.
fn share(text: &str) -> Option<Values> {
    let percentage = |text: &str| number(text.split_once('%')?.0.split_whitespace().next_back()?);
    let (expected, observed) = text.split_once("Expected match:")?.1.split_once("Observed:")?;
    Some((
        percentage(observed).map(Quantity::Number),
        percentage(expected).map(Quantity::Number),
    ))
}

/// Data quality before 2020 and Deequ: `Value: 0.5 does not meet the constraint requirement!`, to which Driftwarden's analyses
/// add the threshold: `… Completeness should be at least 0.95`. Bias: `Metric value 0.37 doesn't meet the baseline constraint
/// requirement 0.28`, and `Value -0.08 does not meet the constraint requirement` without a threshold.
fn plain(text: &str) -> Option<Values> {
    let rest = text
        .strip_prefix("Metric value ")
        .or_else(|| text.strip_prefix("Value"))?;
    let rest = rest.trim_start_matches(':').trim_start();
    let (observed, after) = rest.split_once(' ')?;
    let observed = Quantity::Number(number(observed)?);
    let first_number = |text: &str| text.split_whitespace().next().and_then(|word| number(trimmed(word)));
    let threshold = after.split_once("requirement").and_then(|(_, after)| {
        let sentence = after.split_once("should be ").map(|(_, bound)| bound);
        first_number(after).or_else(|| first_number(sentence?.trim_start_matches("at least ")))
    });
    Some((Some(observed), threshold.map(Quantity::Number)))
}

/// Number at the end of a sentence, without the punctuation.
fn trimmed(word: &str) -> &str {
    word.trim_end_matches(['.', '!', ',', ';'])
}

#[cfg(test)]
mod tests {
    use super::values;

    /// Observed value and threshold as strings; `-` if absent.
    fn read(text: &str) -> String {
        let (observed, threshold) = values(text);
        let show = |value: Option<crate::Quantity>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        format!("{} | {}", show(observed), show(threshold))
    }

    #[test]
    fn known_descriptions_give_their_values() {
        let cases = [
            (
                "Data type match requirement is not met. Expected data type: Integral, Expected match: 100.0%. \
                 Observed: Only 98.25% of data is Integral.",
                "98.25 | 100",
            ),
            (
                "Data type match requirement is not met. Expected data type: Fractional, Expected match: 90.0%.  \
                 Observed: Only 1.5E-4% of data is Fractional.",
                "0.00015 | 90",
            ),
            ("Value: 0.25 does not meet the constraint requirement! ", "0.25 | -"),
            (
                "Value: 0.0 does not meet the constraint requirement! It should be 1.0!",
                "0 | 1",
            ),
            (
                "Value: 0.923 does not meet the constraint requirement! Completeness should be at least 0.96898",
                "0.923 | 0.96898",
            ),
            ("Value: 1.0 meets the constraint requirement", "1 | -"),
            (
                "Numerical distance: 0.3141 exceeds numerical threshold: 0",
                "0.3141 | 0",
            ),
            ("Baseline drift distance: 0.3141 exceeds threshold: 0.1", "0.3141 | 0.1"),
            (
                "Categorical distance: Infinity exceeds categorical threshold: 0.1",
                "Infinity | 0.1",
            ),
            (
                "Metric recall with 0.5125 +/- 0.0071 was LessThanThreshold '0.9375'",
                "0.5125 | 0.9375",
            ),
            (
                "Metric falsePositiveRate with 0.13 +/- 5.25E-4 was GreaterThanThreshold '0.0'",
                "0.13 | 0",
            ),
            (
                "Metric rmse with 12.5 +/- NaN was GreaterThanThreshold '1.25E1'",
                "12.5 | 12.5",
            ),
            ("Metric gini with 0.6 was LessThanThreshold 0.7", "0.6 | 0.7"),
            (
                "Metric value 0.375 doesn't meet the baseline constraint requirement 0.25",
                "0.375 | 0.25",
            ),
            (
                "Metric value -Infinity doesn't meet the baseline constraint requirement -0.5",
                "-Infinity | -0.5",
            ),
            ("Value -0.079 does not meet the constraint requirement", "-0.079 | -"),
            ("Feature attribution drift 0.7639 exceeds threshold 0.9", "0.7639 | 0.9"),
            (
                "There are missing columns. Number of columns in current dataset: 7, Number of columns in baseline \
                 constraints: 12",
                "7 | 12",
            ),
            ("Numerical distance:0.5 exceeds threshold:0.25.", "0.5 | 0.25"),
            ("Too many nulls", "- | -"),
            ("distance: nothing exceeds the threshold", "- | -"),
            ("Metric a with b", "- | -"),
            ("Metric value", "- | -"),
            ("Value:", "- | -"),
            ("Expected match: Observed:", "- | -"),
            ("", "- | -"),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}

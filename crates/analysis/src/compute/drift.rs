//! `driftwarden compute drift`.

use crate::distance::{Categories, DistanceError, ROBUST_C, Weighted, ks_pvalue, linf_robust};
use model_monitor::Quantity;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Line<'a> {
    kind: String,
    #[serde(borrow)]
    sample: &'a RawValue,
    #[serde(borrow)]
    baseline: &'a RawValue,
}

/// Distances between a sample and a baseline.
///
/// For `{"kind": "numeric", "sample": [number…], "baseline": [number…]}` the result has `linf_simple`, `linf_robust` (c
/// = 1.8), `ks_statistic`, `ks_pvalue`, `psi`, `jensen_shannon`, and `wasserstein`. For `{"kind": "categorical",
/// "sample": {value: count}, "baseline": {value: count}}` it has `linf_simple`, `linf_robust`, `chi2_statistic`,
/// `chi2_pvalue`, `psi`, and `jensen_shannon`. [`crate::distance`] defines them.
///
/// # Errors
/// Fails if the line has another shape, a side is empty, or a number is NaN. The message names the field. Infinities
/// are valid numbers.
pub fn answer(line: &[u8]) -> Result<Value, String> {
    let line: Line<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    match line.kind.as_str() {
        "numeric" => {
            let (sample, baseline) = (numbers("sample", line.sample)?, numbers("baseline", line.baseline)?);
            Ok(numeric(&sample, &baseline))
        }
        "categorical" => {
            let (sample, baseline) = (counts("sample", line.sample)?, counts("baseline", line.baseline)?);
            Ok(categorical(&sample, &baseline))
        }
        kind => Err(format!("`kind` is `{kind}`: expected `numeric` or `categorical`")),
    }
}

fn numeric(sample: &Weighted, baseline: &Weighted) -> Value {
    let rows = sample.rows(baseline);
    let statistic = sample.ks_statistic(baseline);
    json!({
        "linf_simple": statistic,
        "linf_robust": linf_robust(statistic, rows, ROBUST_C),
        "ks_statistic": statistic,
        "ks_pvalue": ks_pvalue(statistic, rows),
        "psi": sample.psi(baseline),
        "jensen_shannon": sample.jensen_shannon(baseline),
        "wasserstein": Quantity::Number(sample.wasserstein(baseline)),
    })
}

fn categorical(sample: &Categories, baseline: &Categories) -> Value {
    let chi_square = sample.chi_square(baseline);
    json!({
        "linf_simple": sample.linf_simple(baseline),
        "linf_robust": sample.linf_robust(baseline, sample.rows(baseline), ROBUST_C),
        "chi2_statistic": Quantity::Number(chi_square.statistic),
        "chi2_pvalue": Quantity::Number(chi_square.pvalue),
        "psi": sample.psi(baseline),
        "jensen_shannon": sample.jensen_shannon(baseline),
    })
}

fn numbers(field: &str, raw: &RawValue) -> Result<Weighted, String> {
    let values: Vec<Option<Quantity>> =
        serde_json::from_str(raw.get()).map_err(|error| format!("`{field}`: expected a list of numbers: {error}"))?;
    let mut sample = Vec::with_capacity(values.len());
    for (place, value) in values.into_iter().enumerate() {
        match value {
            Some(Quantity::Number(number)) => sample.push(number),
            Some(Quantity::Text(text)) => return Err(format!("`{field}[{place}]`: expected a number, found `{text}`")),
            None => return Err(format!("`{field}[{place}]` is null: omit missing values")),
        }
    }
    Weighted::from_values(sample).map_err(|error| name(field, error))
}

fn counts(field: &str, raw: &RawValue) -> Result<Categories, String> {
    let counts: BTreeMap<String, Value> = serde_json::from_str(raw.get())
        .map_err(|error| format!("`{field}`: expected an object of counts by value: {error}"))?;
    let counts = counts.into_iter().map(|(value, count)| match whole(&count) {
        Some(count) => Ok((value, count)),
        None => Err(format!(
            "`{field}`: expected a nonnegative integer as the count of `{value}`, found {count}"
        )),
    });
    Categories::new(counts.collect::<Result<Vec<_>, _>>()?).map_err(|error| name(field, error))
}

fn name(field: &str, error: DistanceError) -> String {
    format!("`{field}`: {error}")
}

/// A count, also one that was written as a float (`3.0`).
fn whole(count: &Value) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an integer from 0 to 2^53"
    )]
    let rounded = |number: f64| {
        let exact = (0.0..=9_007_199_254_740_992.0).contains(&number) && number.fract().abs() <= 0.0;
        exact.then_some(number as u64)
    };
    count.as_u64().or_else(|| rounded(count.as_f64()?))
}

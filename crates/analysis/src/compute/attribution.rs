//! `driftwarden compute attribution`.

use crate::attribution::{NDCG_THRESHOLD, ndcg};
use model_monitor::Quantity;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Line {
    baseline: BTreeMap<String, Quantity>,
    live: BTreeMap<String, Quantity>,
}

/// Drift of global SHAP values. Input: `{"baseline": {feature: number}, "live": {feature: number}}`. Output: `{"ndcg":
/// number, "violation": bool}`, where `violation` means that [`ndcg`] is below 0.9.
///
/// # Errors
/// Fails if the line has another shape, the features differ or are fewer than two, or [`ndcg`] does not accept a
/// number. The message names the feature.
pub fn answer(json: &[u8]) -> Result<Value, String> {
    let asked: Line = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let (baseline, live) = (numbers("baseline", asked.baseline)?, numbers("live", asked.live)?);
    let kept = ndcg(&baseline, &live).map_err(|error| error.to_string())?;
    Ok(json!({ "ndcg": kept, "violation": kept < NDCG_THRESHOLD }))
}

fn numbers(side: &str, values: BTreeMap<String, Quantity>) -> Result<BTreeMap<String, f64>, String> {
    let numbers = values.into_iter().map(|(feature, value)| match value {
        Quantity::Number(number) => Ok((feature, number)),
        Quantity::Text(text) => Err(format!("`{side}`: expected a number for `{feature}`, found `{text}`")),
    });
    numbers.collect()
}

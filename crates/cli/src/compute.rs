//! `driftwarden compute`: the pure functions of the analyses.

use crate::{Exit, Streams, lines};
use serde_json::Value;

/// Compute metrics of the analyses from columns: JSON Lines in, JSON Lines out.
///
/// One answer a line, in the order of the input. An input that cannot be answered gives {"error": "…"} on its line, and
/// exit code 1 at the end. A number that JSON cannot hold is the text "`NaN`", "Infinity" or "-Infinity".
#[derive(Debug, clap::Args)]
pub struct Compute {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Bias metrics: {"facet": [0|1…], "label": [0|1…], "predicted"?: [0|1…], "group"?: [text…], "features"?: {name:
    /// [number…]}} gives {"metrics", "errors"}. Facet 1 is the sensitive group, 1 the positive label.
    Bias,
    /// A bias report as Clarify makes it: {"columns": {name: [value…]}, "facet", "`facet_values_or_threshold`",
    /// "label", "`label_values_or_threshold`", "`predicted_label`", "`group_variable`"} gives {"`pre_training`",
    /// "`post_training`"}.
    BiasReport,
    /// Model quality: {"`problem_type`": "`BinaryClassification`"|"`MulticlassClassification`"|"Regression", "label": […],
    /// "prediction": […], "probability"?: […], "`positive_label`"?} gives {"metrics"}.
    ModelQuality,
    /// Distances of a sample from its baseline: {"kind": "numeric", "sample": […], "baseline": […]} or {"kind":
    /// "categorical", "sample": {value: n}, "baseline": {value: n}} gives the distances by name.
    Drift,
    /// Feature attribution drift: {"baseline": {feature: number}, "live": {feature: number}} gives {"ndcg",
    /// "violation"}.
    Attribution,
}

impl Compute {
    /// Runs the command.
    pub(crate) fn run(&self, streams: Streams<'_>) -> Exit {
        let answer: fn(&[u8]) -> Result<Value, String> = match self.what {
            What::Bias => analysis::compute::bias::answer,
            What::BiasReport => analysis::compute::bias::report,
            What::ModelQuality => analysis::compute::model_quality::answer,
            What::Drift => analysis::compute::drift::answer,
            What::Attribution => analysis::compute::attribution::answer,
        };
        let Streams { input, out, .. } = streams;
        // A line holds whole columns.
        lines::answer_all(input, out, 1 << 30, answer).unwrap_or_else(|error| Exit::of_output(&error))
    }
}

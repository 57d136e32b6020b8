//! `driftwarden compute`: the pure functions of the analyses.

use crate::{Exit, Streams, lines};
use serde_json::Value;

/// Descriptions in `--help`. The examples are verbatim: a doc comment would change them.
const BIAS: &str = r#"Compute bias metrics.

Each line has facet and label; predicted, group, and features are optional. In facet, 1 is the sensitive group; in label and predicted, 1 is the positive outcome.
  {"facet":[0,1,0,1],"label":[1,0,1,1],"predicted":[1,0,0,1],"group":["a","a","b","b"],"features":{"age":[30,41,52,28]}}

The answer has the metrics, and an error for each metric without a value:
  {"metrics":{"CI":0.0},"errors":{}}"#;

const BIAS_REPORT: &str = r#"Create a bias report like Clarify.

Each line has columns, facet, label, and label_values_or_threshold; facet_values_or_threshold, predicted_label, and group_variable are optional.
  {"columns":{"sex":["f","m","f","m"],"granted":[1,1,0,1]},"facet":"sex","facet_values_or_threshold":["f"],"label":"granted","label_values_or_threshold":[1]}

The answer has the pre-training metrics of each facet value, and the post-training metrics if predicted_label is set:
  {"pre_training":[{"value_or_threshold":"f","metrics":[{"name":"CI","value":0.0}]}]}"#;

const MODEL_QUALITY: &str = r#"Compute model quality metrics.

Each line has problem_type, label, and prediction; probability and positive_label are optional.
  {"problem_type":"BinaryClassification","label":[0,1,1],"prediction":[0,1,0],"probability":[0.2,0.9,0.4]}

problem_type: BinaryClassification, MulticlassClassification, Regression

The answer has the metrics:
  {"metrics":{"accuracy":0.6666666666666666}}"#;

const DRIFT: &str = r#"Compute distances of a sample from its baseline.

Each line has kind, sample, and baseline. Numeric samples are lists of numbers, categorical samples are counts by value:
  {"kind":"numeric","sample":[1.5,2,3],"baseline":[1,2,2.5]}
  {"kind":"categorical","sample":{"a":3,"b":1},"baseline":{"a":2,"b":2}}

The answer has the distances by name:
  {"linf_simple":0.25}"#;

const ATTRIBUTION: &str = r#"Compute feature attribution drift.

Each line has the attributions by feature, of the baseline and of the live data:
  {"baseline":{"age":0.4,"income":0.2},"live":{"age":0.1,"income":0.3}}

The answer has the NDCG score, and whether it violates the threshold of 0.9:
  {"ndcg":0.8597186998521972,"violation":true}"#;

/// Compute drift, bias, quality, and attribution metrics (JSON Lines).
///
/// Reads JSON Lines from standard input, and prints one answer per line in the same order. An input that cannot be processed
/// gets an object with `error` on its line, and the exit code is 1. A number that JSON cannot represent is the string `NaN`,
/// `Infinity`, or `-Infinity`.
#[derive(Debug, clap::Args)]
pub struct Compute {
    #[command(subcommand)]
    metric: Metric,
}

#[derive(Debug, clap::Subcommand)]
enum Metric {
    /// Compute bias metrics.
    #[command(long_about = BIAS)]
    Bias,
    /// Create a bias report like Clarify.
    #[command(long_about = BIAS_REPORT)]
    BiasReport,
    /// Compute model quality metrics.
    #[command(long_about = MODEL_QUALITY)]
    ModelQuality,
    /// Compute distances of a sample from its baseline.
    #[command(long_about = DRIFT)]
    Drift,
    /// Compute feature attribution drift.
    #[command(long_about = ATTRIBUTION)]
    Attribution,
}

impl Compute {
    /// Runs the command.
    pub(crate) fn run(&self, streams: Streams<'_>) -> Exit {
        let answer: fn(&[u8]) -> Result<Value, String> = match self.metric {
            Metric::Bias => analysis::compute::bias::answer,
            Metric::BiasReport => analysis::compute::bias::report,
            Metric::ModelQuality => analysis::compute::model_quality::answer,
            Metric::Drift => analysis::compute::drift::answer,
            Metric::Attribution => analysis::compute::attribution::answer,
        };
        let Streams { input, out, .. } = streams;
        // A line contains whole columns.
        lines::answer_all(input, out, 1 << 30, answer).unwrap_or_else(|error| Exit::from_output_error(&error))
    }
}

//! Settings of experiments and promotions, from the `[promotion]` tables.

use super::{
    Layers, NAME_RULE, Policy, PolicyError,
    explain::Setting,
    file::{CaptureTable, CloudWatchTable, GuardrailTable, PromotionTable},
    is_name,
};
use jiff::SignedDuration;
use model_monitor::S3Uri;
use promotion::{
    AllocationPolicy, Assignment, BaselinesPolicy, Capture, CloudWatchMetric, Gate, GuardrailMetric, GuardrailPolicy,
    Inconclusive, Metric, Mode, PromotionPolicy,
};

/// Periods below a minute that CloudWatch supports, in seconds (*API Reference*, `MetricStat`).
const SHORT_PERIOD_SECONDS: [i64; 3] = [10, 20, 30];
/// Maximum number of steps of an experiment.
const MAX_STEPS: usize = 50;

impl Policy {
    /// Effective settings for the experiments and promotions of a model.
    pub fn promotion(&self, model: &str) -> PromotionPolicy {
        self.promotion_settings(model)
            .map_or_else(|_| Self::default().promotion(model), |(policy, _)| policy)
    }

    /// Models in the policy with experiments turned on, and their settings.
    pub fn promoted_models(&self) -> Vec<(String, PromotionPolicy)> {
        let models = self.models().into_iter();
        let promoted = models.map(|model| (model.to_owned(), self.promotion(model)));
        promoted.filter(|(_, promotion)| promotion.mode != Mode::Off).collect()
    }

    pub(super) fn promotion_settings(&self, model: &str) -> Result<(PromotionPolicy, Vec<Setting>), PolicyError> {
        let mut layers = Layers::new(vec![("promotion".to_owned(), &self.file.promotion)], self);
        let found = self
            .file
            .model
            .iter()
            .enumerate()
            .find(|(_, table)| table.name == model);
        if let Some((at, table)) = found {
            layers.tables.push((format!("model.{at}.promotion"), &table.promotion));
        }
        let mode = layers.setting("mode", Mode::Off, |t| t.mode, |mode| mode.as_str().to_owned());
        let name =
            |layers: &mut Layers<'_, PromotionTable>, setting: &str, get: fn(&PromotionTable) -> Option<String>| {
                let name = layers.setting(setting, model.to_owned(), get, String::clone);
                // The validation of a policy uses a model without a name.
                if is_name(&name) || (name.is_empty() && model.is_empty()) {
                    return Ok(name);
                }
                Err(layers.invalid(setting, &name, NAME_RULE))
            };
        let endpoint = name(&mut layers, "endpoint", |t| t.endpoint.clone())?;
        let model_package_group = name(&mut layers, "model_package_group", |t| t.model_package_group.clone())?;
        let unapproved = layers.setting("unapproved", false, |t| t.unapproved, bool::to_string);
        let candidate_within = layers.duration("candidate_within", "24h", |t| t.candidate_within.clone())?;
        let traffic = traffic(&mut layers)?;
        let step_lasts = layers.duration("step_lasts", "1h", |t| t.step_lasts.clone())?;
        let bake = layers.duration("bake", "1h", |t| t.bake.clone())?;
        let maximum_duration = layers.duration("maximum_duration", "7d", |t| t.maximum_duration.clone())?;
        let inconclusive = layers.setting(
            "inconclusive",
            Inconclusive::default(),
            |t| t.inconclusive,
            |inconclusive| inconclusive.as_str().to_owned(),
        );
        let metric = layers.setting("metric", "accuracy".to_owned(), |t| t.metric.clone(), String::clone);
        let lower_is_better = layers.setting("lower_is_better", false, |t| t.lower_is_better, bool::to_string);
        let metric = match metric.as_str() {
            "accuracy" => Metric::Accuracy,
            "absolute_error" => Metric::AbsoluteError,
            "squared_error" => Metric::SquaredError,
            "" => return Err(layers.invalid("metric", "", "the name of a metric")),
            _ => Metric::Custom {
                name: metric,
                lower_is_better,
            },
        };
        let (alpha, effect, margin) = statistics(&mut layers)?;
        let minimum_sample = layers.count("minimum_sample", 500, |t| t.minimum_sample)?;
        let (assignment, allocation) = assignment(&mut layers)?;
        let metrics_period = metrics_period(&mut layers)?;
        let policy = PromotionPolicy {
            mode,
            endpoint,
            model_package_group,
            unapproved,
            candidate_within,
            gate: gate(&mut layers)?,
            traffic,
            step_lasts,
            bake,
            maximum_duration,
            inconclusive,
            metric,
            alpha,
            effect,
            margin,
            minimum_sample: minimum_sample.into(),
            guardrails: guardrails(&mut layers)?,
            alarms: layers.setting("alarms", Vec::new(), |t| t.alarms.clone(), |alarms| alarms.join(", ")),
            assignment,
            allocation,
            metrics_period,
            capture: capture(&mut layers)?,
            cloudwatch: cloudwatch(&mut layers)?,
            baselines: baselines(&mut layers)?,
        };
        let compares = matches!(mode, Mode::Variants | Mode::Shadow);
        if compares && policy.capture.is_none() && !matches!(policy.metric, Metric::Custom { .. }) {
            let message = format!(
                "`{}` requires `capture`, unless `metric` is a custom metric",
                mode.as_str()
            );
            return Err(layers.conflict("mode", message));
        }
        if mode == Mode::Off {
            // No other setting has an effect.
            layers.settings.truncate(1);
        }
        for setting in &mut layers.settings {
            setting.name.insert_str(0, "promotion.");
        }
        Ok((policy, layers.settings))
    }
}

fn is_positive(number: f64) -> bool {
    number.is_finite() && number > 0.0
}

/// Who assigns requests to variants, and how the traffic shares are set.
fn assignment(layers: &mut Layers<'_, PromotionTable>) -> Result<(Assignment, AllocationPolicy), PolicyError> {
    let assignment = layers.setting(
        "assignment",
        Assignment::default(),
        |t| t.assignment,
        |assignment| assignment.as_str().to_owned(),
    );
    let allocation = layers.setting(
        "allocation",
        AllocationPolicy::default(),
        |t| t.allocation,
        |allocation| allocation.as_str().to_owned(),
    );
    if allocation == AllocationPolicy::Thompson && assignment != Assignment::TargetVariant {
        let message = "`thompson` requires assignment = \"target-variant\"".to_owned();
        return Err(layers.conflict("allocation", message));
    }
    Ok((assignment, allocation))
}

fn metrics_period(layers: &mut Layers<'_, PromotionTable>) -> Result<SignedDuration, PolicyError> {
    let metrics_period = layers.duration("metrics_period", "1m", |t| t.metrics_period.clone())?;
    let seconds = metrics_period.as_secs();
    if !SHORT_PERIOD_SECONDS.contains(&seconds) && (seconds <= 0 || seconds % 60 != 0 || seconds > 3600) {
        let expected = "10s, 20s, 30s, or whole minutes up to 1h";
        return Err(layers.invalid("metrics_period", &format!("{seconds}s"), expected));
    }
    Ok(metrics_period)
}

/// The settings `alpha`, `effect`, and `margin`.
fn statistics(layers: &mut Layers<'_, PromotionTable>) -> Result<(f64, f64, Option<f64>), PolicyError> {
    let alpha = layers.setting("alpha", 0.05, |t| t.alpha, f64::to_string);
    if !(alpha > 0.0 && alpha < 1.0) {
        return Err(layers.invalid("alpha", &alpha.to_string(), "a probability between 0 and 1"));
    }
    let effect = layers.setting("effect", 0.02, |t| t.effect, f64::to_string);
    if !is_positive(effect) {
        return Err(layers.invalid("effect", &effect.to_string(), "a number above 0"));
    }
    let shown = |margin: &Option<f64>| margin.map_or("none".to_owned(), |margin| margin.to_string());
    let margin = layers.setting("margin", None, |t| t.margin.map(Some), shown);
    if let Some(margin) = margin.filter(|margin| !is_positive(*margin)) {
        return Err(layers.invalid("margin", &margin.to_string(), "a number above 0"));
    }
    Ok((alpha, effect, margin))
}

fn traffic(layers: &mut Layers<'_, PromotionTable>) -> Result<Vec<f64>, PolicyError> {
    let joined = |steps: &Vec<f64>| steps.iter().map(f64::to_string).collect::<Vec<_>>().join(", ");
    let steps = layers.setting("traffic", vec![5.0, 10.0, 25.0, 50.0], |t| t.traffic.clone(), joined);
    let fits = |share: &f64| share.is_finite() && *share > 0.0 && *share < 100.0;
    let rises = steps.is_sorted_by(|a, b| a < b);
    if steps.is_empty() || steps.len() > MAX_STEPS || !steps.iter().all(fits) || !rises {
        let expected = "percentages in ascending order, each above 0 and below 100";
        return Err(layers.invalid("traffic", &joined(&steps), expected));
    }
    Ok(steps)
}

fn gate(layers: &mut Layers<'_, PromotionTable>) -> Result<Option<Gate>, PolicyError> {
    let gate = layers.setting(
        "gate",
        None,
        |t| t.gate.clone().map(Some),
        |gate| gate.as_ref().map_or("none".to_owned(), |gate| gate.metric.clone()),
    );
    let Some(gate) = gate else { return Ok(None) };
    if !gate.metric.starts_with('/') {
        let expected = "a JSON pointer such as /binary_classification_metrics/auc/value";
        return Err(layers.invalid("gate", &gate.metric, expected));
    }
    let worse_by = gate.worse_by.unwrap_or(0.0);
    if !worse_by.is_finite() || worse_by < 0.0 {
        return Err(layers.invalid("gate", &worse_by.to_string(), "a difference of 0 or more"));
    }
    Ok(Some(Gate {
        metric: gate.metric,
        lower_is_better: gate.lower_is_better.unwrap_or(false),
        worse_by,
    }))
}

fn guardrails(layers: &mut Layers<'_, PromotionTable>) -> Result<Vec<GuardrailPolicy>, PolicyError> {
    let default = [(GuardrailMetric::LatencyP99, 0.2), (GuardrailMetric::Errors5xx, 0.01)];
    let default = default.map(|(metric, margin)| GuardrailTable {
        metric,
        margin,
        limit: None,
    });
    let tables = layers.setting(
        "guardrails",
        default.to_vec(),
        |t| t.guardrails.clone(),
        |guardrails| {
            let each = guardrails.iter().map(|guardrail| {
                let limit = guardrail
                    .limit
                    .map_or_else(String::new, |limit| format!(", limit {limit}"));
                format!("{} margin {}{limit}", guardrail.metric.as_str(), guardrail.margin)
            });
            each.collect::<Vec<_>>().join("; ")
        },
    );
    for (at, guardrail) in tables.iter().enumerate() {
        if !guardrail.margin.is_finite() || guardrail.margin < 0.0 {
            return Err(layers.invalid("guardrails", &guardrail.margin.to_string(), "a margin of 0 or more"));
        }
        if let Some(limit) = guardrail.limit.filter(|limit| !is_positive(*limit)) {
            return Err(layers.invalid("guardrails", &limit.to_string(), "a limit above 0"));
        }
        if tables.iter().take(at).any(|earlier| earlier.metric == guardrail.metric) {
            let expected = "each metric at most once";
            return Err(layers.invalid("guardrails", guardrail.metric.as_str(), expected));
        }
    }
    let each = tables.into_iter().map(|guardrail| GuardrailPolicy {
        metric: guardrail.metric,
        margin: guardrail.margin,
        limit: guardrail.limit,
    });
    Ok(each.collect())
}

fn capture(layers: &mut Layers<'_, PromotionTable>) -> Result<Option<Capture>, PolicyError> {
    let shown = |capture: &Option<CaptureTable>| capture.as_ref().map_or("none".to_owned(), |found| found.data.clone());
    let Some(table) = layers.setting("capture", None, |t| t.capture.clone().map(Some), shown) else {
        return Ok(None);
    };
    for uri in [&table.data, &table.ground_truth, &table.config] {
        if S3Uri::parse(uri).is_none() {
            return Err(layers.invalid("capture", uri, "an s3:// URI"));
        }
    }
    Ok(Some(Capture {
        data: table.data,
        ground_truth: table.ground_truth,
        config: table.config,
    }))
}

fn cloudwatch(layers: &mut Layers<'_, PromotionTable>) -> Result<Option<CloudWatchMetric>, PolicyError> {
    let shown = |metric: &Option<CloudWatchTable>| {
        let name = |metric: &CloudWatchTable| format!("{} {}", metric.namespace, metric.metric_name);
        metric.as_ref().map_or("none".to_owned(), name)
    };
    let Some(table) = layers.setting("cloudwatch", None, |t| t.cloudwatch.clone().map(Some), shown) else {
        return Ok(None);
    };
    for name in [&table.namespace, &table.metric_name] {
        if name.trim().is_empty() || name.len() > 255 || !name.is_ascii() {
            return Err(layers.invalid("cloudwatch", name, "a name of up to 255 ASCII characters"));
        }
    }
    Ok(Some(CloudWatchMetric {
        namespace: table.namespace,
        metric_name: table.metric_name,
        proportion: table.proportion.unwrap_or(true),
    }))
}

fn baselines(layers: &mut Layers<'_, PromotionTable>) -> Result<Option<BaselinesPolicy>, PolicyError> {
    let table = layers.setting(
        "baselines",
        None,
        |t| t.baselines.clone().map(Some),
        |baselines| {
            baselines
                .as_ref()
                .map_or("unchanged".to_owned(), |found| found.output.clone())
        },
    );
    let Some(table) = table else { return Ok(None) };
    for uri in [Some(&table.output), table.training_data.as_ref()]
        .into_iter()
        .flatten()
    {
        if S3Uri::parse(uri).is_none() {
            return Err(layers.invalid("baselines", uri, "an s3:// URI"));
        }
    }
    Ok(Some(BaselinesPolicy {
        output: table.output,
        training_data: table.training_data,
    }))
}

//! Settings of experiments and promotions, from the `[promotion]` tables.

use super::{
    Layers, Policy, PolicyError,
    explain::Setting,
    file::{GateTable, PromotionTable},
    values::{
        GuardrailTable, Guardrails, Length, MetricName, MetricsPeriod, Name, NonNegative, Number, Positive,
        Probability, Traffic,
    },
};
use jiff::SignedDuration;
use promotion::{
    AllocationPolicy, Assignment, BaselinesPolicy, Capture, CloudWatchMetric, Gate, GuardrailMetric, GuardrailPolicy,
    Inconclusive, Metric, Mode, PromotionPolicy,
};

impl Policy {
    /// Effective settings for the experiments and promotions of a model.
    pub fn promotion(&self, model: &str) -> PromotionPolicy {
        self.promotion_settings(model).0
    }

    /// Models in the policy with experiments turned on, and their settings.
    pub fn promoted_models(&self) -> Vec<(String, PromotionPolicy)> {
        let models = self.models().into_iter();
        let promoted = models.map(|model| (model.to_owned(), self.promotion(model)));
        promoted.filter(|(_, promotion)| promotion.mode != Mode::Off).collect()
    }

    pub(super) fn promotion_settings(&self, model: &str) -> (PromotionPolicy, Vec<Setting>) {
        let mut layers = Layers::new(vec![("promotion".to_owned(), &self.file.promotion)]);
        if let Some((at, table)) = self.model_table(model) {
            layers.tables.push((format!("model.{at}.promotion"), &table.promotion));
        }
        let mode = layers.setting("mode", Mode::Off, |t| t.mode, |mode| mode.as_str().to_owned());
        let mut name = |setting: &str, get: fn(&PromotionTable) -> Option<Name>| {
            let default = Name(model.to_owned());
            layers.setting(setting, default, get, |name| name.0.clone()).0
        };
        let endpoint = name("endpoint", |t| t.endpoint.clone());
        let model_package_group = name("model_package_group", |t| t.model_package_group.clone());
        let unapproved = layers.setting("unapproved", false, |t| t.unapproved, bool::to_string);
        let candidate_within = layers.length("candidate_within", 24, |t| t.candidate_within.clone());
        let traffic = Traffic(vec![5.0, 10.0, 25.0, 50.0]);
        let traffic = layers.setting("traffic", traffic, |t| t.traffic.clone(), Traffic::to_string);
        let step_lasts = layers.length("step_lasts", 1, |t| t.step_lasts.clone());
        let bake = layers.length("bake", 1, |t| t.bake.clone());
        let maximum_duration = layers.length("maximum_duration", 7 * 24, |t| t.maximum_duration.clone());
        let inconclusive = layers.setting(
            "inconclusive",
            Inconclusive::default(),
            |t| t.inconclusive,
            |inconclusive| inconclusive.as_str().to_owned(),
        );
        let metric = metric(&mut layers);
        let alpha = layers.setting("alpha", Probability(0.05), |t| t.alpha, |alpha| alpha.0.to_string());
        let effect = layers.setting("effect", Positive(0.02), |t| t.effect, |effect| effect.0.to_string());
        let margin = layers.optional("margin", "none", |t| t.margin, |margin| margin.0.to_string());
        let minimum_sample = layers.setting(
            "minimum_sample",
            Number(500),
            |t| t.minimum_sample,
            |sample| sample.0.to_string(),
        );
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
        let policy = PromotionPolicy {
            mode,
            endpoint,
            model_package_group,
            unapproved,
            candidate_within,
            metrics_period: metrics_period(&mut layers),
            gate: gate(&mut layers),
            traffic: traffic.0,
            step_lasts,
            bake,
            maximum_duration,
            inconclusive,
            metric,
            alpha: alpha.0,
            effect: effect.0,
            margin: margin.map(|margin| margin.0),
            minimum_sample: minimum_sample.0.into(),
            guardrails: guardrails(&mut layers),
            alarms: layers.setting("alarms", Vec::new(), |t| t.alarms.clone(), |alarms| alarms.join(", ")),
            assignment,
            allocation,
            capture: capture(&mut layers),
            cloudwatch: cloudwatch(&mut layers),
            baselines: baselines(&mut layers),
        };
        let mut settings = layers.settings;
        for setting in &mut settings {
            setting.name.insert_str(0, "promotion.");
        }
        (policy, settings)
    }

    /// Checks the settings of a model that depend on each other.
    pub(super) fn check_promotion(&self, model: &str) -> Result<(), PolicyError> {
        let (policy, settings) = self.promotion_settings(model);
        let conflict = |setting: &str, message: String| PolicyError::Conflict {
            place: self.place_of(&settings, setting),
            message,
        };
        if policy.allocation == AllocationPolicy::Thompson && policy.assignment != Assignment::TargetVariant {
            let message = "`thompson` requires assignment = \"target-variant\"".to_owned();
            return Err(conflict("promotion.allocation", message));
        }
        let compares = matches!(policy.mode, Mode::Variants | Mode::Shadow);
        if compares && policy.capture.is_none() && !matches!(policy.metric, Metric::Custom { .. }) {
            let message = format!(
                "`{}` requires `capture`, unless `metric` is a custom metric",
                policy.mode.as_str()
            );
            return Err(conflict("promotion.mode", message));
        }
        Ok(())
    }
}

fn metric(layers: &mut Layers<'_, PromotionTable>) -> Metric {
    let default = MetricName("accuracy".to_owned());
    let metric = layers.setting("metric", default, |t| t.metric.clone(), |metric| metric.0.clone());
    let lower_is_better = layers.setting("lower_is_better", false, |t| t.lower_is_better, bool::to_string);
    match metric.0.as_str() {
        "accuracy" => Metric::Accuracy,
        "absolute_error" => Metric::AbsoluteError,
        "squared_error" => Metric::SquaredError,
        _ => Metric::Custom {
            name: metric.0,
            lower_is_better,
        },
    }
}

fn metrics_period(layers: &mut Layers<'_, PromotionTable>) -> SignedDuration {
    let default = MetricsPeriod(Length {
        text: "1m".to_owned(),
        duration: SignedDuration::from_mins(1),
    });
    let get = |t: &PromotionTable| t.metrics_period.clone();
    layers
        .setting("metrics_period", default, get, |period| period.0.text.clone())
        .0
        .duration
}

fn gate(layers: &mut Layers<'_, PromotionTable>) -> Option<Gate> {
    let show = |gate: &GateTable| gate.metric.0.clone();
    let gate = layers.optional("gate", "none", |t| t.gate.clone(), show)?;
    Some(Gate {
        metric: gate.metric.0,
        lower_is_better: gate.lower_is_better.unwrap_or(false),
        worse_by: gate.worse_by.map_or(0.0, |worse_by| worse_by.0),
    })
}

fn guardrails(layers: &mut Layers<'_, PromotionTable>) -> Vec<GuardrailPolicy> {
    let default = [(GuardrailMetric::LatencyP99, 0.2), (GuardrailMetric::Errors5xx, 0.01)];
    let default = default.map(|(metric, margin)| GuardrailTable {
        metric,
        margin: NonNegative(margin),
        limit: None,
    });
    let show = |guardrails: &Guardrails| {
        let each = guardrails.0.iter().map(|guardrail| {
            let limit = guardrail
                .limit
                .map_or_else(String::new, |limit| format!(", limit {}", limit.0));
            format!("{} margin {}{limit}", guardrail.metric.as_str(), guardrail.margin.0)
        });
        each.collect::<Vec<_>>().join("; ")
    };
    let tables = layers.setting(
        "guardrails",
        Guardrails(default.to_vec()),
        |t| t.guardrails.clone(),
        show,
    );
    let each = tables.0.into_iter().map(|guardrail| GuardrailPolicy {
        metric: guardrail.metric,
        margin: guardrail.margin.0,
        limit: guardrail.limit.map(|limit| limit.0),
    });
    each.collect()
}

fn capture(layers: &mut Layers<'_, PromotionTable>) -> Option<Capture> {
    let table = layers.optional(
        "capture",
        "none",
        |t| t.capture.clone(),
        |capture| capture.data.0.clone(),
    )?;
    Some(Capture {
        data: table.data.0,
        ground_truth: table.ground_truth.0,
        config: table.config.0,
    })
}

fn cloudwatch(layers: &mut Layers<'_, PromotionTable>) -> Option<CloudWatchMetric> {
    let table = layers.optional(
        "cloudwatch",
        "none",
        |t| t.cloudwatch.clone(),
        |metric| format!("{} {}", metric.namespace.0, metric.metric_name.0),
    )?;
    Some(CloudWatchMetric {
        namespace: table.namespace.0,
        metric_name: table.metric_name.0,
        proportion: table.proportion.unwrap_or(true),
    })
}

fn baselines(layers: &mut Layers<'_, PromotionTable>) -> Option<BaselinesPolicy> {
    let get = |t: &PromotionTable| t.baselines.clone();
    let table = layers.optional("baselines", "unchanged", get, |baselines| baselines.output.0.clone())?;
    Some(BaselinesPolicy {
        output: table.output.0,
        training_data: table.training_data.map(|uri| uri.0),
    })
}

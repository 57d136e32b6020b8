//! Misspelled keys of configurations: keys that nothing reads, but that are similar to one that something reads.
//!
//! Sources: developer guide, pages `clarify-processing-job-configure-analysis` and `model-monitor-byoc-constraints`.

use serde_json::{Map, Value};
use text::nearest_name;

/// Maximum number of keys that are reported.
const MAX_REPORTED: usize = 10;

/// Known keys of an object, and of the objects in it.
pub(super) struct Keys {
    known: &'static [&'static str],
    nested: &'static [(&'static str, &'static Keys)],
}

const DISTRIBUTION: Keys = Keys {
    known: &[
        "perform_comparison",
        "comparison_threshold",
        "comparison_method",
        "categorical_comparison_threshold",
        "categorical_drift_method",
        "enable_comparisons",
        "min_domain_mass",
    ],
    nested: &[],
};

const MONITORING: Keys = Keys {
    known: &[
        "evaluate_constraints",
        "emit_metrics",
        "datatype_check_threshold",
        "domain_content_threshold",
        "distribution_constraints",
    ],
    nested: &[("distribution_constraints", &DISTRIBUTION)],
};

const STRINGS: Keys = Keys {
    known: &["domains", "monitoring_config_overrides", "monitoringConfigOverrides"],
    nested: &[
        ("monitoring_config_overrides", &MONITORING),
        ("monitoringConfigOverrides", &MONITORING),
    ],
};

const FEATURE: Keys = Keys {
    known: &[
        "name",
        "inferred_type",
        "completeness",
        "num_constraints",
        "string_constraints",
        "monitoring_config_overrides",
        "monitoringConfigOverrides",
    ],
    nested: &[
        (
            "num_constraints",
            &Keys {
                known: &["is_non_negative"],
                nested: &[],
            },
        ),
        ("string_constraints", &STRINGS),
        ("monitoring_config_overrides", &MONITORING),
        ("monitoringConfigOverrides", &MONITORING),
    ],
};

/// `constraints.json` of data quality.
pub(super) const CONSTRAINTS: Keys = Keys {
    known: &["version", "features", "monitoring_config"],
    nested: &[("features", &FEATURE), ("monitoring_config", &MONITORING)],
};

/// `analysis_config.json`.
pub(super) const CONFIG: Keys = Keys {
    known: &[
        "version",
        "dataset_type",
        "dataset_uri",
        "headers",
        "label",
        "features",
        "label_values_or_threshold",
        "facet",
        "facet_dataset_uri",
        "facet_headers",
        "group_variable",
        "joinsource_name_or_index",
        "excluded_columns",
        "predicted_label",
        "predicted_label_dataset_uri",
        "predicted_label_headers",
        "probability",
        "probability_threshold",
        "predictor",
        "methods",
        "segment_config",
        "time_series_data_config",
        "problem_type",
        "inference_attribute",
        "probability_attribute",
        "probability_threshold_attribute",
        "ground_truth_attribute",
        "positive_label",
        "segment",
        "estimate_without_labels",
        "bootstrap",
    ],
    nested: &[
        (
            "facet",
            &Keys {
                known: &["name_or_index", "value_or_threshold"],
                nested: &[],
            },
        ),
        (
            "predictor",
            &Keys {
                known: &[
                    "model_name",
                    "instance_type",
                    "initial_instance_count",
                    "instance_count",
                    "accelerator_type",
                    "endpoint_name",
                    "endpoint_name_prefix",
                    "target_model",
                    "content_type",
                    "accept_type",
                    "content_template",
                    "record_template",
                    "custom_attributes",
                    "label",
                    "probability",
                    "label_headers",
                    "tags",
                ],
                nested: &[],
            },
        ),
        (
            "methods",
            &Keys {
                known: &[
                    "pre_training_bias",
                    "post_training_bias",
                    "shap",
                    "asymmetric_shapley_value",
                    "pdp",
                    "report",
                ],
                nested: &[(
                    "shap",
                    &Keys {
                        known: &[
                            "baseline",
                            "num_clusters",
                            "num_samples",
                            "agg_method",
                            "use_logit",
                            "seed",
                            "save_local_shap_values",
                            "text_config",
                            "image_config",
                            "sample_rows",
                            "batch_rows",
                        ],
                        nested: &[],
                    },
                )],
            },
        ),
    ],
};

impl Keys {
    /// One line for each key that is not known and is similar to a known one. `file` is the name of the file.
    pub(super) fn misspelled(&self, file: &str, value: &Value) -> Vec<String> {
        let mut found = Vec::new();
        self.visit("", value, &mut found);
        let lines = found.iter().take(MAX_REPORTED);
        lines
            .map(|(path, nearest)| {
                format!("{file}: unknown key `{path}`, which has no effect: did you mean `{nearest}`?")
            })
            .collect()
    }

    fn visit(&self, path: &str, value: &Value, found: &mut Vec<(String, &'static str)>) {
        match value {
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    self.visit(&format!("{path}[{at}]"), item, found);
                }
            }
            Value::Object(fields) => self.visit_object(path, fields, found),
            _ => {}
        }
    }

    fn visit_object(&self, path: &str, fields: &Map<String, Value>, found: &mut Vec<(String, &'static str)>) {
        for (key, value) in fields {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            if let Some((_, nested)) = self.nested.iter().find(|(name, _)| name == key) {
                nested.visit(&path, value, found);
            } else if !self.known.contains(&key.as_str())
                && let Some(nearest) = nearest_name(self.known.iter().copied(), key)
            {
                found.push((path, nearest));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_key_with_a_wrong_letter_is_reported() {
        fn check(keys: &Keys, path: &[&str], wrap: &dyn Fn(Value) -> Value) {
            for key in keys.known {
                let mut misspelled = (*key).to_owned();
                misspelled.insert(1, '#');
                let lines = CONFIG.misspelled("file", &wrap(json!({ misspelled.as_str(): 1 })));
                assert!(
                    lines
                        .iter()
                        .any(|line| line.contains(&format!("did you mean `{key}`?"))),
                    "{path:?} {key}: {lines:?}"
                );
            }
        }
        check(&CONFIG, &[], &|object| object);
        for (name, keys) in CONFIG.nested {
            check(keys, &[name], &|object| json!({ *name: object }));
        }
    }

    #[test]
    fn known_and_foreign_keys_are_not_reported() {
        let constraints = json!({
            "version": 0.0,
            "features": [{"name": "a", "inferred_type": "Integral", "extra": 1}],
            "monitoring_config": {"distribution_constraints": {"comparison_method": "Robust"}},
            "generated_by": "us",
        });
        assert_eq!(CONSTRAINTS.misspelled("constraints.json", &constraints), [""; 0]);
    }
}

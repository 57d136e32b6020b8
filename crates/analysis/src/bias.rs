//! Clarify's bias metrics, as smclarify 0.5 computes them.
//!
//! A facet is the column that contains a sensitive attribute. One value, several values, or an interval select the rows
//! of the *disadvantaged* group d; all other rows are the *advantaged* group a. The label and the prediction are
//! reduced to positive and not positive.
//!
//! | part | purpose |
//! | --- | --- |
//! | [`FacetCounts`] | row counts by group, label, prediction, and subgroup: all metrics except one follow from these, so that they can be accumulated and merged |
//! | [`Features`], [`flip_test`] | the metric that needs the rows |
//! | [`Column`], [`Cell`] | a column as it was read, and the type of its values |
//! | [`bias_report`], [`Request`] | facet and label selected as in Clarify, all metrics of both stages, `analysis.json` |
//! | [`check`] | bias drift compared with a baseline's `analysis.json` |
//! | [`Bootstrap`] | confidence intervals of metrics, by resampling the counts |
//!
//! Sources: smclarify 0.5 (`bias/report.py`, `bias/metrics/*.py`), run with pandas 2 and scikit-learn; developer guide,
//! pages `clarify-measure-data-bias`, `clarify-measure-post-training-bias`, and
//! `clarify-model-monitor-bias-drift-violations`.

mod bootstrap;
mod column;
mod counts;
mod drift;
mod flip_test;
mod metrics;
mod report;
mod selection;

pub use bootstrap::{Bootstrap, Interval, deviations};
pub use column::{Cell, Column};
pub use counts::FacetCounts;
pub use drift::{DriftCheck, Intervals, check};
pub use flip_test::{Features, MAX_FLIP_TEST_COMPARISONS, flip_test};
pub use metrics::{Metric, MetricError, MetricResult, Stage};
pub use report::{BiasReport, FacetReport, MAX_FACET_VALUES, Reading, Request, analysis, bias_report};
pub(crate) use report::{Dataset, Groups};
pub use selection::SelectionError;

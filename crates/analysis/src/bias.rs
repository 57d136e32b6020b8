//! Clarify's bias metrics, as smclarify 0.5 counts them.
//!
//! A facet is the column that holds a sensitive attribute. One value of it, several, or an interval select the rows of
//! the *disadvantaged* group d; all other rows are the *advantaged* group a. The label is collapsed to positive and not;
//! so is what the model predicts.
//!
//! | part | what it does |
//! | --- | --- |
//! | [`FacetCounts`] | rows by group, label, prediction and subgroup: all metrics but one follow from these, so that they can be accumulated and merged |
//! | [`Features`], [`flip_test`] | the one that needs the rows |
//! | [`Column`], [`Cell`] | a column as it was read, and what kind of values it holds |
//! | [`bias_report`], [`Request`] | facet and label selected as Clarify does, all metrics of both stages, `analysis.json` |
//! | [`check`] | bias drift against a baseline's `analysis.json` |
//! | [`Bootstrap`] | intervals around metrics, by resampling the counts |
//!
//! Sources: smclarify 0.5 (`bias/report.py`, `bias/metrics/*.py`), run with pandas 2 and scikit-learn; developer guide,
//! pages `clarify-measure-data-bias`, `clarify-measure-post-training-bias` and `clarify-model-monitor-bias-drift-violations`.

mod bootstrap;
mod column;
mod counts;
mod drift;
mod flip_test;
mod metrics;
mod report;
mod selection;

pub use bootstrap::{Bootstrap, Interval};
pub use column::{Cell, Column};
pub use counts::FacetCounts;
pub use drift::{DriftCheck, Intervals, NotJudged, check};
pub use flip_test::{Features, MAX_FLIP_TEST_COMPARISONS, flip_test};
pub use metrics::{Metric, MetricError, MetricResult, Stage};
pub use report::{BiasReport, FacetReport, MAX_FACET_VALUES, Request, analysis, bias_report};
pub(crate) use report::{Dataset, Groups};
pub use selection::SelectionError;

//! The wire formats of SageMaker Model Monitor and Clarify, and of the AWS events about them. Pure: bytes in, types out.
//!
//! | file or event | type |
//! | --- | --- |
//! | `constraint_violations.json` of all four monitor types and of custom containers | [`ViolationReport`] |
//! | `statistics.json` (data quality, model quality) | [`Statistics`] |
//! | `constraints.json` (data quality, model quality) | [`Constraints`] |
//! | `analysis.json` (Clarify: bias, explainability) | [`Analysis`] |
//! | where a monitor writes in S3 | [`ReportFolder`] |
//! | EventBridge events about executions, pipelines and alarms | [`Event`] |
//! | any of these files, recognised by what is in it | [`Document`] |
//! | what the analyzer says at its end | [`ExitMessage`] |
//!
//! Two rules hold everywhere. What is unknown survives: check types, fields and texts that are not documented are kept
//! as they are. What cannot be read is an error that names the object, the JSON path, what was expected and what was
//! found, and is never taken for «no violations». Every size is bounded by [`Limits`].
//!
//! What is tolerated beyond JSON, since custom containers write it: a byte order mark, and bare `NaN`, `Infinity` and
//! `-Infinity` (Python's `json`), which are read as text. A documented field that occurs twice in a file is an error, for
//! nobody can tell which was meant; of an undocumented one, and in events, the last counts.

mod analysis;
mod constraints;
mod description;
mod document;
mod error;
mod events;
mod exit_message;
mod json;
mod layout;
mod names;
mod quantity;
mod schedule;
mod statistics;
mod violations;

pub use analysis::{Analysis, BiasFacet, BiasMetric, BiasMetrics, Explanation, Explanations, Shap};
pub use constraints::{
    ComparisonOperator, Constraints, DistributionConstraints, FeatureConstraints, MetricConstraint, MonitoringConfig,
    NumConstraints, StringConstraints, Switch,
};
pub use document::Document;
pub use error::{ParseError, Problem};
pub use events::{
    AlarmStateChange, Detail, EndpointStateChange, Event, ModelPackageStateChange, ObjectCreated,
    PipelineExecutionStatusChange, PipelineExecutionStepStatusChange, ProcessingJobStateChange,
};
pub use exit_message::ExitMessage;
pub use json::Limits;
pub use layout::{GROUND_TRUTH_MERGE_FOLDER, ReportFolder, VIOLATION_FILE_NAMES};
pub use names::{EndpointName, MonitoringScheduleName, S3Uri};
pub use quantity::Quantity;
pub use schedule::ScheduleExpression;
pub use statistics::{
    Categorical, CategoricalBucket, Common, Dataset, Distribution, FeatureStatistics, KllBucket, KllSketch,
    MetricStatistics, NumericalStatistics, Sketch, SketchParameters, Statistics, StringDistribution, StringStatistics,
};
pub use violations::{ConstraintCheckType, MonitorType, Subject, Violation, ViolationReport};

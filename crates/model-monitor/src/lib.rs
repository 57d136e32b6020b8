#![doc = include_str!("../README.md")]

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

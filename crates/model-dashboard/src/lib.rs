#![doc = include_str!("../README.md")]

mod chart;
mod console;
mod facts;
mod frame;
mod history;
mod lineage;
mod model;
mod overview;
mod reason;
mod series;
mod summary;
mod timeline;

pub use console::Console;
pub use facts::{EndpointFacts, Facts, LineageArtifact, LineageAssociation, TransformJob, VariantFacts};
pub use model::{Comparison, ModelView, model_page};
pub use overview::{Deployment, overview};
pub use series::ExecutionMetrics;
pub use summary::{
    Documents, ExperimentSummary, IncidentSummary, LastDecision, LastRetraining, MonitorSummary, STRIP_EXECUTIONS,
    Summary,
};

use std::fmt::Write as _;

/// Path of a model's page, relative to the folder of the overview.
pub fn page_path(model: &str) -> String {
    let mut name = String::with_capacity(model.len());
    for byte in model.bytes() {
        // A model name can contain any character; a file name and a link cannot.
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            name.push(char::from(byte));
        } else {
            // Writing to a `String` never fails.
            let _written = write!(name, "~{byte:02x}");
        }
    }
    format!("models/{name}.html")
}

/// File name of the overview.
pub const OVERVIEW: &str = "index.html";

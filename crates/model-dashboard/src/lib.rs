#![doc = include_str!("../README.md")]

mod chart;
mod console;
mod facts;
mod frame;
mod history;
mod lineage;
mod model;
mod overview;
mod series;
mod summary;
mod timeline;

pub use console::Console;
pub use facts::{EndpointFacts, Facts, LineageArtifact, LineageAssociation, TransformJob, VariantFacts};
pub use model::{Comparison, ModelView, model_page};
pub use overview::{Deployment, overview};
pub use series::Measured;
pub use summary::{
    Documents, ExperimentSummary, IncidentSummary, LastDecision, LastRetraining, MonitorSummary, STRIP, Summary,
};

use std::fmt::Write as _;

/// The file of a model's page, in the folder of the overview.
pub fn page_of(model: &str) -> String {
    let mut name = String::with_capacity(model.len());
    for byte in model.bytes() {
        // A model may be called anything; a file, and a link to it, may not.
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            name.push(char::from(byte));
        } else {
            // Writing to a text does not fail.
            let _written = write!(name, "~{byte:02x}");
        }
    }
    format!("models/{name}.html")
}

/// The file of the overview.
pub const OVERVIEW: &str = "index.html";

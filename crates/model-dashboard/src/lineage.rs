//! Lineage graph of a model, from the training data to the retraining. It combines SageMaker's lineage, where it exists, with
//! Driftwarden's state documents.

use crate::ModelView;
use maud::{Markup, html};
use remediation::Incident;
use std::collections::BTreeMap;

const BOX: (f64, f64) = (178.0, 54.0);
const GAP: (f64, f64) = (46.0, 14.0);
/// Maximum number of boxes per kind. The other nodes are only listed.
const MAX_BOXES: usize = 6;
/// Longer labels are cut. A title contains the complete ID.
const MAX_LABEL_CHARS: usize = 22;

/// Kind of a node. Each kind is a column, from left to right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Data,
    Training,
    ModelPackage,
    Endpoint,
    Monitor,
    Incident,
    Retraining,
    Candidate,
    Experiment,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Data,
        Self::Training,
        Self::ModelPackage,
        Self::Endpoint,
        Self::Monitor,
        Self::Incident,
        Self::Retraining,
        Self::Candidate,
        Self::Experiment,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Data => "Data",
            Self::Training => "Training",
            Self::ModelPackage => "Model package",
            Self::Endpoint => "Endpoint",
            Self::Monitor => "Monitor",
            Self::Incident => "Incident",
            Self::Retraining => "Retraining",
            Self::Candidate => "Candidate",
            Self::Experiment => "Experiment",
        }
    }

    /// Kind of an entity of SageMaker's lineage. `None` for entities that are not drawn.
    fn from_sagemaker(kind: &str) -> Option<Self> {
        Some(match kind {
            "DataSet" | "Dataset" | "Data" => Self::Data,
            "TrainingJob" | "ProcessingJob" | "PipelineExecution" | "SageMakerTrainingJob" => Self::Training,
            "Model" | "ModelPackage" | "ModelGroup" => Self::ModelPackage,
            "Endpoint" | "ModelDeployment" => Self::Endpoint,
            _ => return None,
        })
    }
}

/// A node of the graph.
#[derive(Debug, Clone, PartialEq)]
struct Node {
    kind: Kind,
    /// Unique ID: an ARN, a URI, or a name.
    id: String,
    label: String,
    detail: String,
    class: &'static str,
}

#[derive(Debug, Default)]
struct Graph {
    nodes: Vec<Node>,
    /// Source, destination, and kind of each association.
    edges: Vec<(String, String, String)>,
}

impl Graph {
    fn add(&mut self, kind: Kind, id: &str, label: &str, detail: impl Into<String>, class: &'static str) -> String {
        if !self.nodes.iter().any(|node| node.id == id) {
            self.nodes.push(Node {
                kind,
                id: id.to_owned(),
                label: label.to_owned(),
                detail: detail.into(),
                class,
            });
        }
        id.to_owned()
    }

    fn edge(&mut self, from: &str, to: &str, kind: &str) {
        let edge = (from.to_owned(), to.to_owned(), kind.to_owned());
        if from != to && !self.edges.contains(&edge) {
            self.edges.push(edge);
        }
    }
}

/// The last part of an ARN or a URI.
fn last(text: &str) -> &str {
    text.trim_end_matches('/').rsplit('/').next().unwrap_or(text)
}

/// Label of a model package: `group 7`.
fn package_label(arn: &str) -> String {
    let mut parts = arn.rsplit('/');
    match (parts.next(), parts.next()) {
        (Some(version), Some(group)) if version.parse::<u64>().is_ok() => format!("{group} {version}"),
        _ => last(arn).to_owned(),
    }
}

fn graph(view: &ModelView<'_>) -> Graph {
    let mut graph = Graph::default();
    let documents = &view.documents;
    let facts = &view.summary.facts;
    // SageMaker's lineage.
    let mut known: BTreeMap<&str, String> = BTreeMap::new();
    for artifact in &facts.artifacts {
        let Some(kind) = Kind::from_sagemaker(&artifact.kind) else {
            continue;
        };
        let label = match kind {
            Kind::ModelPackage => package_label(&artifact.source),
            _ => last(&artifact.source).to_owned(),
        };
        let id = graph.add(kind, &artifact.source, &label, artifact.kind.as_str(), "");
        known.insert(&artifact.arn, id);
    }
    for association in &facts.associations {
        let ends = (
            known.get(association.source.as_str()),
            known.get(association.destination.as_str()),
        );
        if let (Some(from), Some(to)) = ends {
            let (from, to) = (from.clone(), to.clone());
            graph.edge(&from, &to, &association.kind);
        }
    }
    // The endpoint and the model packages that it serves.
    let endpoint = view.summary.endpoint.as_deref();
    let endpoint = endpoint.map(|name| {
        let status = facts.endpoint.as_ref().map_or("", |endpoint| endpoint.status.as_str());
        let same = graph
            .nodes
            .iter()
            .find(|node| node.kind == Kind::Endpoint && last(&node.id) == name);
        match same.map(|node| node.id.clone()) {
            Some(id) => id,
            None => graph.add(Kind::Endpoint, name, name, status, ""),
        }
    });
    let variants = facts.endpoint.iter().flat_map(|endpoint| &endpoint.variants);
    for variant in variants {
        if let (Some(arn), Some(endpoint)) = (&variant.model_package_arn, &endpoint) {
            let package = graph.add(Kind::ModelPackage, arn, &package_label(arn), "", "");
            graph.edge(&package, endpoint, &format!("serves as {}", variant.name));
        }
    }
    // The promoted model package, and the pipeline execution and data that produced it.
    let mut ended = documents.experiments.iter().flat_map(|document| &document.ended);
    let promoted = ended.rfind(|ended| ended.conclusion == promotion::Conclusion::Promoted);
    if let (Some(promoted), Some(endpoint)) = (promoted, &endpoint) {
        let package = &promoted.experiment.package;
        let id = graph.add(
            Kind::ModelPackage,
            &package.arn,
            &package_label(&package.arn),
            "promoted",
            "good",
        );
        graph.edge(&id, endpoint, "promoted");
        if let Some(execution_arn) = &package.generated_by {
            let training = graph.add(
                Kind::Training,
                execution_arn,
                last(execution_arn),
                "pipeline execution",
                "",
            );
            graph.edge(&training, &id, "Produced");
            let baselines = documents.policy.promotion(documents.model).baselines;
            if let Some(data) = baselines.and_then(|baselines| baselines.training_data) {
                let data = data.replace("{version}", &package.version.to_string());
                let data = graph.add(Kind::Data, &data, last(&data), "training data", "");
                graph.edge(&data, &training, "ContributedTo");
            }
        }
    }
    // The monitors.
    for ledger in documents.ledgers {
        let schedule = &ledger.monitor.schedule;
        let kind = ledger
            .monitor
            .monitor_type
            .map_or("Custom", |monitor_type| monitor_type.as_str());
        let in_alert = ledger.alert.status == alerting::AlertStatus::InAlert;
        let monitor = graph.add(
            Kind::Monitor,
            schedule,
            schedule,
            if in_alert {
                format!("{kind}, InAlert")
            } else {
                kind.to_owned()
            },
            if in_alert { "bad" } else { "" },
        );
        if let Some(endpoint) = &endpoint {
            graph.edge(endpoint, &monitor, "monitored");
        }
    }
    let incidents = crate::summary::all_incidents(documents.document);
    if let Some(incident) = incidents.last() {
        add_incident(&mut graph, view, incident);
    }
    graph
}

/// Adds the latest incident with its monitors, its retraining, and the experiment of the retrained model.
fn add_incident(graph: &mut Graph, view: &ModelView<'_>, incident: &Incident) {
    let open = view.summary.incident.is_some();
    let id = graph.add(
        Kind::Incident,
        &incident.id,
        &incident.id,
        if open { incident.stage().as_str() } else { "closed" },
        if open { "bad" } else { "" },
    );
    for schedule in &incident.monitors {
        let monitor = graph
            .nodes
            .iter()
            .find(|node| node.kind == Kind::Monitor && node.id.eq_ignore_ascii_case(schedule));
        if let Some(monitor) = monitor.map(|node| node.id.clone()) {
            graph.edge(&monitor, &id, "InAlert");
        }
    }
    let Some(execution) = incident.execution() else {
        return;
    };
    let retraining = graph.add(
        Kind::Retraining,
        &execution.arn,
        last(&execution.arn),
        execution.status.as_str(),
        "",
    );
    graph.edge(&id, &retraining, "Retrain");
    let Some(document) = view.documents.experiments else {
        return;
    };
    let ended = document.ended.iter().map(|ended| &ended.experiment);
    let mut all = ended.chain(&document.experiment);
    let Some(experiment) =
        all.find(|experiment| experiment.package.generated_by.as_deref() == Some(execution.arn.as_str()))
    else {
        return;
    };
    let package = &experiment.package;
    // A promoted candidate also serves as a model package. This node shows it as the result of the retraining.
    let candidate = graph.add(
        Kind::Candidate,
        &format!("candidate:{}", package.arn),
        &package_label(&package.arn),
        package.approval_status.as_str(),
        "",
    );
    graph.edge(&retraining, &candidate, "Produced");
    let concluded = document.ended.iter().find(|ended| ended.experiment.id == experiment.id);
    let state = concluded.map_or(experiment.stage.as_str(), |ended| ended.conclusion.as_str());
    let class = crate::overview::conclusion_class(concluded.map(|ended| ended.conclusion));
    let tested = graph.add(Kind::Experiment, &experiment.id, &experiment.id, state, class);
    graph.edge(&candidate, &tested, "tested");
}

/// Draws the lineage as a graph, with a list of all nodes.
pub(crate) fn section(view: &ModelView<'_>) -> Markup {
    let graph = graph(view);
    if graph.nodes.is_empty() {
        return html! { p.soft { "The lineage of this model is unknown." } };
    }
    let columns: Vec<(Kind, Vec<&Node>)> = Kind::ALL
        .into_iter()
        .map(|kind| (kind, graph.nodes.iter().filter(|node| node.kind == kind).collect()))
        .filter(|(_, nodes): &(Kind, Vec<&Node>)| !nodes.is_empty())
        .collect();
    let mut places: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    let most = columns
        .iter()
        .map(|(_, nodes)| nodes.len().min(MAX_BOXES))
        .max()
        .unwrap_or(1);
    let step = (BOX.0 + GAP.0, BOX.1 + GAP.1);
    #[expect(clippy::cast_precision_loss, reason = "few")]
    let (width, height) = (columns.len() as f64 * step.0 - GAP.0 + 2.0, most as f64 * step.1 + 26.0);
    for ((_, nodes), column) in columns.iter().zip(0u32..) {
        #[expect(clippy::cast_precision_loss, reason = "few")]
        let above = (most - nodes.len().min(MAX_BOXES)) as f64 * step.1 / 2.0;
        for (node, row) in nodes.iter().take(MAX_BOXES).zip(0u32..) {
            places.insert(
                &node.id,
                (1.0 + f64::from(column) * step.0, 25.0 + above + f64::from(row) * step.1),
            );
        }
    }
    html! {
        div.wide tabindex="0" role="region" aria-label="Lineage" {
            svg.lg viewBox=(format!("0 0 {width} {height}")) style=(format!("min-width:{:.0}px;max-width:{width}px", width * 0.72)) role="img" aria-labelledby="lg-title" {
                title #lg-title { "Lineage of " (view.documents.model) ": " (text::count(graph.nodes.len(), "node")) ", listed below" }
                @for ((kind, _), column) in columns.iter().zip(0u32..) {
                    text.ax x=(1.0 + f64::from(column) * step.0) y="12" { (kind.as_str()) }
                }
                @for (from, to, kind) in &graph.edges {
                    @if let (Some(a), Some(b)) = (places.get(from.as_str()), places.get(to.as_str())) {
                        path.ed d=(curve(*a, *b)) { title { (kind) } }
                    }
                }
                @for node in &graph.nodes {
                    @if let Some((x, y)) = places.get(node.id.as_str()) {
                        rect class=(format!("bx {}", node.class).trim_end()) x=(x) y=(y) width=(BOX.0) height=(BOX.1) rx="6" { title { (node.id) } }
                        text.nl x=(x + 10.0) y=(y + 22.0) { (short(&node.label)) }
                        text.ax x=(x + 10.0) y=(y + 41.0) { (short(&node.detail)) }
                    }
                }
            }
        }
        details { summary { "List of all nodes" }
            table { thead { tr { th scope="col" { "Kind" } th scope="col" { "ID" } th scope="col" { "State" } th scope="col" { "From" } } }
                tbody { @for node in columns.iter().flat_map(|(_, nodes)| nodes) {
                    tr { td { (node.kind.as_str()) } th scope="row" { (linked(&node.id, view)) } td { (node.detail) }
                        td { @for (from, _, kind) in graph.edges.iter().filter(|(_, to, _)| *to == node.id) { (last(from)) " " span.soft { "(" (kind) ")" } br; } } }
                } }
            }
        }
        @if !has_sagemaker_lineage(view) {
            p.soft { "Source: Driftwarden's state documents."
                @if let Some(at) = view.summary.facts.at { " SageMaker had no lineage of this model at " (text::time(at)) "." } }
        }
    }
}

fn has_sagemaker_lineage(view: &ModelView<'_>) -> bool {
    !view.summary.facts.artifacts.is_empty()
}

fn linked(id: &str, view: &ModelView<'_>) -> Markup {
    let id = id.strip_prefix("candidate:").unwrap_or(id);
    let link = view.console.arn(id).or_else(|| view.console.object(id));
    html! { @match link { Some(link) => a href=(link) { (id) }, None => (id) } }
}

fn short(text: &str) -> String {
    let mut label: String = text.chars().take(MAX_LABEL_CHARS).collect();
    if text.chars().count() > MAX_LABEL_CHARS {
        label.pop();
        label.push('…');
    }
    label
}

/// Curve from the right side of one box to the left side of another.
fn curve(a: (f64, f64), b: (f64, f64)) -> String {
    let (x1, y1, x2, y2) = (a.0 + BOX.0, a.1 + BOX.1 / 2.0, b.0, b.1 + BOX.1 / 2.0);
    let bend = ((x2 - x1) / 2.0).max(GAP.0 / 2.0);
    format!(
        "M{x1:.1} {y1:.1}C{:.1} {y1:.1} {:.1} {y2:.1} {x2:.1} {y2:.1}",
        x1 + bend,
        x2 - bend
    )
}

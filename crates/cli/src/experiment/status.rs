//! `driftwarden experiment status`: the stage of each experiment, and why.

use super::order::{no_experiments, unknown_experiment};
use crate::{
    Exit, Streams,
    cloud::{Clients, Environment, StateBucket, experiments, json_line, model_experiments, show_all},
    error::Failure,
    state::State,
    table::{Cell, Table, plain, plain_lines},
    terminal::{colored, hang_indent},
};
use experiment::Sample;
use jiff::Timestamp;
use machine::Clock as _;
use promotion::{
    Ended, Experiment, ExperimentDocument, ExperimentStage, Look, Mode, ModelPackage, Opinion, describe_outcome,
    plot::{self, Plot},
};
use serde::Serialize;
use std::{
    fs,
    io::{self, Write},
};
use text::{number, signed};

/// Maximum number of looks in the table. `--html` and `--json` contain all of them.
const MAX_LOOKS: usize = 10;

/// Show the stage and the results of experiments.
///
/// Lists the open or the latest experiment of every model. With a model or an experiment ID, shows all details. The interval of
/// a difference is a confidence sequence: it is valid at every look of a traffic step, regardless of the number of looks.
#[derive(Debug, clap::Args)]
pub(super) struct Status {
    /// Show only this model or experiment ID, in detail.
    #[arg(value_name = "MODEL")]
    model: Option<String>,
    #[command(flatten)]
    state_bucket: StateBucket,
    /// Print JSON Lines: one object per model.
    #[arg(long, display_order = 110)]
    json: bool,
    /// Write a plot of the confidence sequence as an SVG image, for the open or the latest experiment.
    #[arg(long, value_name = "FILE", requires = "model")]
    plot: Option<String>,
    /// Write the plot as an HTML page, with all looks in a table.
    #[arg(long, value_name = "FILE", requires = "model")]
    html: Option<String>,
}

/// JSON line of a model.
#[derive(Serialize)]
struct Line<'a> {
    model: &'a str,
    experiment: Option<&'a Experiment>,
    /// Second opinion on the last look of the open experiment.
    opinion: Option<Opinion>,
    next: Option<&'a ModelPackage>,
    ended: Vec<&'a Ended>,
}

/// An experiment, and its end if it has ended.
#[derive(Clone, Copy)]
struct Shown<'a> {
    experiment: &'a Experiment,
    ended: Option<&'a Ended>,
}

impl<'a> Shown<'a> {
    fn open(experiment: &'a Experiment) -> Self {
        Self {
            experiment,
            ended: None,
        }
    }

    fn ended(ended: &'a Ended) -> Self {
        Self {
            experiment: &ended.experiment,
            ended: Some(ended),
        }
    }

    /// The open experiment, then the ended ones, latest first.
    fn all(document: &'a ExperimentDocument) -> impl Iterator<Item = Self> {
        let open = document.experiment.iter().map(Self::open);
        open.chain(document.ended.iter().rev().map(Self::ended))
    }

    /// The stage, or the conclusion.
    fn state(&self) -> State {
        self.ended.map_or_else(
            || State::from(self.experiment.stage),
            |ended| State::from(ended.conclusion),
        )
    }

    fn last(&self) -> Option<&'a Look> {
        self.experiment.looks.last()
    }

    /// Traffic share of the candidate.
    fn share(&self) -> String {
        match (self.experiment.share, self.experiment.mode) {
            (Some(share), _) => percent(share),
            (None, Mode::Shadow) if self.ended.is_none() => "shadow".to_owned(),
            (None, _) => String::new(),
        }
    }

    fn opinion(&self) -> Option<Opinion> {
        Opinion::from_look(self.last()?, self.experiment.comparison.as_ref()?)
    }
}

fn line(document: &ExperimentDocument) -> Line<'_> {
    let experiment = document.experiment.as_ref();
    Line {
        model: &document.model,
        experiment,
        opinion: experiment.and_then(|open| Shown::open(open).opinion()),
        next: document.next.as_ref(),
        ended: document.ended.iter().rev().collect(),
    }
}

impl Status {
    /// Runs the command.
    pub(super) async fn run(&self, env: &impl Environment, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let clients = self.state_bucket.connect(env).await?;
        let Some(name) = &self.model else {
            return self.all(clients.as_ref(), streams).await;
        };
        let mut document = model_experiments(clients.as_ref(), name).await?;
        if document.is_none()
            && let Some(model) = remediation::experiment_model(name)
        {
            document = model_experiments(clients.as_ref(), model).await?;
            if let Some(document) = &mut document {
                Self::narrow(document, name)?;
            }
        }
        let Some(document) = document else {
            return Err(no_experiments(clients.as_ref(), name).await?);
        };
        self.draw(&document, clients.now())?;
        if self.json {
            json_line(streams.out, &line(&document))?;
        } else {
            detail(streams.out, &document, clients.now())?;
        }
        for file in [&self.plot, &self.html].into_iter().flatten() {
            writeln!(streams.err, "written: {}", plain(file))?;
        }
        Ok(Exit::Done)
    }

    /// Removes all other experiments from a document.
    fn narrow(document: &mut ExperimentDocument, id: &str) -> Result<(), Failure> {
        if !Shown::all(document).any(|shown| shown.experiment.id == id) {
            return Err(unknown_experiment(id, &document.model, document));
        }
        document.experiment = document.experiment.take().filter(|open| open.id == id);
        document.ended.retain(|ended| ended.experiment.id == id);
        document.next = None;
        Ok(())
    }

    fn draw(&self, document: &ExperimentDocument, now: Timestamp) -> Result<(), Failure> {
        if self.plot.is_none() && self.html.is_none() {
            return Ok(());
        }
        let Some(shown) = Shown::all(document).next() else {
            return Err(format!("model `{}` has had no experiment to plot", document.model).into());
        };
        let plot = Plot {
            experiment: shown.experiment,
            ended: shown.ended.map(|ended| (ended.conclusion, ended.ended_at)),
            now,
        };
        for (file, draw) in [
            (&self.plot, plot::svg as fn(&Plot<'_>) -> String),
            (&self.html, plot::html),
        ] {
            if let Some(file) = file {
                fs::write(file, draw(&plot)).map_err(|error| format!("{file}: failed to write: {error}"))?;
            }
        }
        Ok(())
    }

    async fn all(&self, clients: &impl Clients, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let header = [
            "experiment",
            "stage",
            "since",
            "package",
            "traffic",
            "champion",
            "candidate",
            "difference",
            "waits for",
        ];
        let all = experiments(clients).await?;
        if all.is_empty() && !self.json {
            writeln!(streams.out, "no model has had an experiment yet")?;
        }
        let print = |document: &ExperimentDocument, out: &mut dyn Write| json_line(out, &line(document));
        let row = |document: &ExperimentDocument| Shown::all(document).next().map(|shown| row(&shown));
        Ok(show_all(&all, self.json, header, print, row, streams)?)
    }
}

fn row(shown: &Shown<'_>) -> [Cell; 9] {
    let Shown { experiment, ended } = shown;
    let last = shown.last();
    [
        experiment.id.as_str().into(),
        shown.state().into(),
        text::time(ended.map_or(experiment.since, |ended| ended.ended_at)).into(),
        format!("version {}", experiment.package.version).into(),
        shown.share().into(),
        last.map(|look| outcomes(&look.champion)).unwrap_or_default().into(),
        last.map(|look| outcomes(&look.candidate)).unwrap_or_default().into(),
        last.map(difference).unwrap_or_default().into(),
        experiment
            .waits_for
            .clone()
            .filter(|_| ended.is_none())
            .unwrap_or_default()
            .into(),
    ]
}

/// Mean and number of outcomes.
fn outcomes(sample: &Sample) -> String {
    match sample.count {
        0 => "no outcomes".to_owned(),
        count => format!("{} ({})", number(sample.mean()), text::integer(count)),
    }
}

fn percent(share: f64) -> String {
    text::percent(share / 100.0)
}

fn difference(look: &Look) -> String {
    look.interval.map_or_else(String::new, |interval| {
        format!(
            "{} [{}, {}]",
            signed(interval.estimate),
            signed(interval.low),
            signed(interval.high)
        )
    })
}

fn detail(out: &mut dyn Write, document: &ExperimentDocument, now: Timestamp) -> io::Result<()> {
    let mut ended = document.ended.iter().rev();
    let open = document.experiment.as_ref();
    writeln!(out, "model `{}`", plain(&document.model))?;
    if let Some(open) = open {
        writeln!(out)?;
        show(out, &Shown::open(open), now)?;
    }
    if let Some(next) = &document.next {
        writeln!(out, "\nnext candidate: version {}, {}", next.version, plain(&next.arn))?;
    }
    let Some(latest) = ended.next() else {
        return match open {
            Some(_) => Ok(()),
            None => writeln!(out, "\nno experiment yet"),
        };
    };
    writeln!(out)?;
    show(out, &Shown::ended(latest), now)?;
    let mut table = Table::new(["experiment", "package", "opened", "ended", "conclusion", "difference"]);
    for ended in ended {
        let shown = Shown::ended(ended);
        table.row([
            Cell::from(ended.experiment.id.as_str()),
            format!("version {}", ended.experiment.package.version).into(),
            text::time(ended.experiment.opened_at).into(),
            text::time(ended.ended_at).into(),
            shown.state().into(),
            shown.last().map(difference).unwrap_or_default().into(),
        ]);
    }
    if document.ended.len() > 1 {
        writeln!(out, "\nearlier experiments, latest first")?;
    }
    table.write(out)
}

/// Shows one experiment in full.
fn show(out: &mut dyn Write, shown: &Shown<'_>, now: Timestamp) -> io::Result<()> {
    let Shown { experiment, ended } = *shown;
    let id = plain(&experiment.id);
    match ended {
        Some(ended) => writeln!(
            out,
            "experiment {id}: {} at {}, after {}",
            colored(shown.state()),
            text::time(ended.ended_at),
            text::duration(ended.ended_at.duration_since(experiment.opened_at))
        )?,
        None => writeln!(
            out,
            "experiment {id}: {} since {} ({})",
            colored(shown.state()),
            text::time(experiment.since),
            text::duration(now.duration_since(experiment.since))
        )?,
    }
    writeln!(out, "  {}", hang_indent(&plain_lines(&experiment.sentence), 2))?;
    fields(shown).write(out)?;
    if let Some(look) = shown.last() {
        compared(out, shown, look)?;
    }
    let mut table = Table::new(["reason"]);
    for reason in &experiment.reasons {
        table.row([reason.describe()]);
    }
    table.write(out)?;
    looks(out, &experiment.looks)
}

fn fields(shown: &Shown<'_>) -> Table<2> {
    let Shown { experiment, ended } = *shown;
    let package = &experiment.package;
    let mut table = Table::new(["field", "value"]);
    let mut field = |name: &str, value: String| table.row([name.to_owned(), value]);
    field(
        "candidate",
        format!(
            "version {}, {}, {}",
            package.version, package.approval_status, package.arn
        ),
    );
    if let Some(pipeline) = &package.generated_by {
        field("created by", pipeline.clone());
    }
    if let Some(id) = &experiment.correlation_id {
        field("correlation ID", id.clone());
    }
    field(
        "endpoint",
        format!("{}, mode {}", experiment.endpoint, experiment.mode.as_str()),
    );
    let step = match experiment.stage {
        ExperimentStage::Testing | ExperimentStage::Paused if experiment.mode == Mode::Variants => {
            format!(", step {}", experiment.step + 1)
        }
        _ => String::new(),
    };
    if !shown.share().is_empty() {
        field("traffic", format!("{}{step}", shown.share()));
    }
    field("opened", text::time(experiment.opened_at));
    if let Some(started_at) = experiment.started_at {
        field("in service since", text::time(started_at));
    }
    if let Some(comparison) = &experiment.comparison {
        let better = if comparison.lower_is_better { "lower" } else { "higher" };
        let margin = comparison.margin.map_or_else(String::new, |margin| {
            format!("; at most {} worse is allowed", number(margin))
        });
        field("metric", format!("{}, {better} is better{margin}", comparison.metric));
    }
    if let Some(waits_for) = experiment.waits_for.as_ref().filter(|_| ended.is_none()) {
        field("waits for", waits_for.clone());
    }
    if let Some(refused) = &experiment.refused {
        field("rejected by SageMaker", refused.clone());
    }
    for monitor in &experiment.baselines.changed {
        let uri = monitor.baseline_uri.as_deref().unwrap_or_default();
        field("baseline", format!("{}: {uri}", monitor.monitoring_schedule));
    }
    for not in &experiment.baselines.not_created {
        field("no baseline", format!("{}: {}", not.monitoring_schedule, not.reason));
    }
    table
}

/// Shows the comparison of the last look.
fn compared(out: &mut dyn Write, shown: &Shown<'_>, look: &Look) -> io::Result<()> {
    let names = shown.experiment.compared_variants().unwrap_or_default();
    writeln!(
        out,
        "\n  last look at {}: {}",
        text::time(look.time),
        describe_outcome(look.outcome)
    )?;
    let mut table = Table::new(["", "variant", "outcomes", "mean"]);
    for (role, name, sample) in [
        ("champion", names.0, look.champion),
        ("candidate", names.1, look.candidate),
    ] {
        let mean = if sample.count == 0 {
            String::new()
        } else {
            number(sample.mean())
        };
        table.row([role.to_owned(), name, text::integer(sample.count), mean]);
    }
    table.write(out)?;
    if look.interval.is_some() {
        let comparison = shown.experiment.comparison.as_ref();
        let coverage = comparison.map_or_else(String::new, |comparison| {
            format!(
                " ({} confidence sequence, valid at all looks of this step)",
                percent(100.0 * (1.0 - comparison.alpha))
            )
        });
        writeln!(out, "  candidate − champion: {}{coverage}", difference(look))?;
    }
    if let Some(opinion) = shown.opinion() {
        writeln!(out, "  second opinion: {}", opinion.describe())?;
    }
    Ok(())
}

fn looks(out: &mut dyn Write, looks: &[Look]) -> io::Result<()> {
    if looks.is_empty() {
        return Ok(());
    }
    let title = if looks.len() > MAX_LOOKS {
        format!("latest {MAX_LOOKS} of {} looks", looks.len())
    } else {
        "looks, latest first".to_owned()
    };
    writeln!(out, "\n  {title}")?;
    let mut table = Table::new([
        "time",
        "step",
        "traffic",
        "champion",
        "candidate",
        "difference",
        "outcome",
    ]);
    for look in looks.iter().rev().take(MAX_LOOKS) {
        table.row([
            text::time(look.time),
            (look.step + 1).to_string(),
            look.share.map(percent).unwrap_or_default(),
            outcomes(&look.champion),
            outcomes(&look.candidate),
            difference(look),
            describe_outcome(look.outcome).to_owned(),
        ]);
    }
    table.write(out)
}

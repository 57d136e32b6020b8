//! `driftwarden experiment status`: where the experiments stand, and why.

use super::order::{known, model_of, nothing_of};
use crate::{
    Exit, Streams,
    cloud::{
        Failure, StateBucket, Surroundings, World, experiments, experiments_of, json_line, plain_lines, second,
        show_all,
    },
    table::{Table, plain},
    terminal::hanging,
};
use experiment::Sample;
use jiff::Timestamp;
use promotion::{
    Ended, Experiment, ExperimentDocument, ExperimentStage, Look, Mode, ModelPackage, Opinion, number, outcome,
    plot::{self, Plot},
    signed,
};
use remediation::in_words;
use serde::Serialize;
use shell::ports::Clock as _;
use std::{
    fs,
    io::{self, Write},
};

/// So many looks are listed; all of them are in --html and --json.
const LOOKS: usize = 10;

/// Show where experiments stand, and why.
///
/// Lists the experiment of every model: the open one, or else the latest that is over. Of one model, all that its document says
/// of the open one and of the latest that is over; of one experiment, by its id, all of that. The interval of a difference covers
/// the true one at all looks of a step of the traffic together, however often one looks.
#[derive(Debug, clap::Args)]
pub(super) struct Status {
    /// Show one model, or one experiment by its id, in detail.
    #[arg(value_name = "MODEL")]
    model: Option<String>,
    #[command(flatten)]
    state_bucket: StateBucket,
    /// Print JSON Lines: one object per model.
    #[arg(long)]
    json: bool,
    /// Write the confidence sequence over time as a picture, an SVG; of the open experiment, or else of the latest.
    #[arg(long, value_name = "FILE", requires = "model")]
    plot: Option<String>,
    /// Write the same as a page, with every look in a table.
    #[arg(long, value_name = "FILE", requires = "model")]
    html: Option<String>,
}

/// What `--json` prints of a model.
#[derive(Serialize)]
struct Line<'a> {
    model: &'a str,
    experiment: Option<&'a Experiment>,
    /// The second opinion on the open experiment's last look.
    opinion: Option<Opinion>,
    next: Option<&'a ModelPackage>,
    ended: Vec<&'a Ended>,
}

/// An experiment, and how it ended if it is over.
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

    fn over(ended: &'a Ended) -> Self {
        Self {
            experiment: &ended.experiment,
            ended: Some(ended),
        }
    }

    /// The open one, then those that are over, the latest first.
    fn all(document: &'a ExperimentDocument) -> impl Iterator<Item = Self> {
        let open = document.experiment.iter().map(Self::open);
        open.chain(document.ended.iter().rev().map(Self::over))
    }

    /// The stage, or the conclusion.
    fn state(&self) -> &'static str {
        self.ended
            .map_or(self.experiment.stage.as_str(), |ended| ended.conclusion.as_str())
    }

    fn last(&self) -> Option<&'a Look> {
        self.experiment.looks.last()
    }

    /// The candidate's share of the traffic.
    fn share(&self) -> String {
        match (self.experiment.share, self.experiment.mode) {
            (Some(share), _) => per_cent(share),
            (None, Mode::Shadow) if self.ended.is_none() => "shadow".to_owned(),
            (None, _) => String::new(),
        }
    }

    fn opinion(&self) -> Option<Opinion> {
        Opinion::of(self.last()?, self.experiment.comparison.as_ref()?)
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
    pub(super) async fn run(&self, around: &impl Surroundings, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let world = self.state_bucket.connect(around).await?;
        let Some(name) = &self.model else {
            return self.all(world.as_ref(), streams).await;
        };
        let mut document = experiments_of(world.as_ref(), name).await?;
        if document.is_none()
            && let Some(model) = model_of(name)
        {
            document = experiments_of(world.as_ref(), model).await?;
            if let Some(document) = &mut document {
                Self::narrow(document, name)?;
            }
        }
        let Some(document) = document else {
            return Err(nothing_of(world.as_ref(), name).await?);
        };
        self.draw(&document, world.now())?;
        if self.json {
            json_line(streams.out, &line(&document))?;
        } else {
            detail(streams.out, &document, world.now())?;
        }
        for file in [&self.plot, &self.html].into_iter().flatten() {
            writeln!(streams.err, "written: {}", plain(file))?;
        }
        Ok(Exit::Done)
    }

    /// Leaves one experiment in a document.
    fn narrow(document: &mut ExperimentDocument, id: &str) -> Result<(), Failure> {
        if !Shown::all(document).any(|shown| shown.experiment.id == id) {
            let known = known(document);
            let model = &document.model;
            return Err(Failure::Said(format!(
                "experiment `{id}` is not known; model `{model}` has {known}"
            )));
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
            let model = &document.model;
            return Err(Failure::Said(format!(
                "model `{model}` has had no experiment that could be drawn"
            )));
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
                fs::write(file, draw(&plot)).map_err(|error| format!("{file} cannot be written: {error}"))?;
            }
        }
        Ok(())
    }

    async fn all(&self, world: &impl World, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
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
        let all = experiments(world).await?;
        if all.is_empty() && !self.json {
            writeln!(streams.out, "no model has had an experiment")?;
        }
        let print = |document: &ExperimentDocument, out: &mut dyn Write| json_line(out, &line(document));
        let row = |document: &ExperimentDocument| Shown::all(document).next().map(|shown| row(&shown));
        Ok(show_all(&all, self.json, header, print, row, streams)?)
    }
}

fn row(shown: &Shown<'_>) -> [String; 9] {
    let Shown { experiment, ended } = shown;
    let last = shown.last();
    [
        experiment.id.clone(),
        shown.state().to_owned(),
        second(ended.map_or(experiment.since, |ended| ended.ended_at)),
        format!("version {}", experiment.package.version),
        shown.share(),
        last.map(|look| outcomes(&look.champion)).unwrap_or_default(),
        last.map(|look| outcomes(&look.candidate)).unwrap_or_default(),
        last.map(difference).unwrap_or_default(),
        experiment
            .waits_for
            .clone()
            .filter(|_| ended.is_none())
            .unwrap_or_default(),
    ]
}

/// The mean of some outcomes, and how many there are.
fn outcomes(sample: &Sample) -> String {
    match sample.count {
        0 => "no outcomes".to_owned(),
        count => format!("{} of {count}", number(sample.mean())),
    }
}

fn per_cent(share: f64) -> String {
    format!("{} %", number(share))
}

fn difference(look: &Look) -> String {
    look.interval.map_or_else(String::new, |interval| {
        format!(
            "{} ({} to {})",
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
            None => writeln!(out, "\nit has had no experiment yet"),
        };
    };
    writeln!(out)?;
    show(out, &Shown::over(latest), now)?;
    let mut table = Table::new(["experiment", "package", "opened", "ended", "conclusion", "difference"]);
    for ended in ended {
        let shown = Shown::over(ended);
        table.row([
            ended.experiment.id.clone(),
            format!("version {}", ended.experiment.package.version),
            second(ended.experiment.opened_at),
            second(ended.ended_at),
            ended.conclusion.as_str().to_owned(),
            shown.last().map(difference).unwrap_or_default(),
        ]);
    }
    if document.ended.len() > 1 {
        writeln!(out, "\nexperiments before that, the latest first")?;
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
            shown.state(),
            second(ended.ended_at),
            in_words(ended.ended_at.duration_since(experiment.opened_at))
        )?,
        None => writeln!(
            out,
            "experiment {id}: {} since {} ({})",
            shown.state(),
            second(experiment.since),
            in_words(now.duration_since(experiment.since))
        )?,
    }
    writeln!(out, "  {}", hanging(&plain_lines(&experiment.sentence), 2))?;
    fields(shown).write(out)?;
    if let Some(look) = shown.last() {
        compared(out, shown, look)?;
    }
    let mut table = Table::new(["reason"]);
    for reason in &experiment.reasons {
        table.row([reason.words()]);
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
        field("made by", pipeline.clone());
    }
    if let Some(id) = &experiment.correlation_id {
        field("correlation id", id.clone());
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
    field("opened", second(experiment.opened_at));
    if let Some(started_at) = experiment.started_at {
        field("in service since", second(started_at));
    }
    if let Some(comparison) = &experiment.comparison {
        let better = if comparison.lower_is_better { "lower" } else { "higher" };
        let margin = comparison.margin.map_or_else(String::new, |margin| {
            format!("; worse by up to {} is good enough", number(margin))
        });
        field("metric", format!("{}, {better} is better{margin}", comparison.metric));
    }
    if let Some(waits_for) = experiment.waits_for.as_ref().filter(|_| ended.is_none()) {
        field("waits for", waits_for.clone());
    }
    if let Some(refused) = &experiment.refused {
        field("SageMaker refused", refused.clone());
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

/// What the last look compared.
fn compared(out: &mut dyn Write, shown: &Shown<'_>, look: &Look) -> io::Result<()> {
    let names = shown.experiment.compared().unwrap_or_default();
    writeln!(
        out,
        "\n  last look, at {}: {}",
        second(look.time),
        outcome(look.outcome)
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
        table.row([role.to_owned(), name, sample.count.to_string(), mean]);
    }
    table.write(out)?;
    if let Some(interval) = look.interval {
        let comparison = shown.experiment.comparison.as_ref();
        let certain = comparison.map_or_else(String::new, |comparison| {
            format!(
                ", {} at all looks of this step together",
                per_cent(100.0 * (1.0 - comparison.alpha))
            )
        });
        writeln!(
            out,
            "  candidate less champion: {}, between {} and {}{certain}",
            signed(interval.estimate),
            signed(interval.low),
            signed(interval.high)
        )?;
    }
    if let Some(opinion) = shown.opinion() {
        writeln!(out, "  second opinion: {}", opinion.words())?;
    }
    Ok(())
}

fn looks(out: &mut dyn Write, looks: &[Look]) -> io::Result<()> {
    if looks.is_empty() {
        return Ok(());
    }
    let said = if looks.len() > LOOKS {
        format!("the latest {LOOKS} of {} looks", looks.len())
    } else {
        "looks, the latest first".to_owned()
    };
    writeln!(out, "\n  {said}")?;
    let mut table = Table::new([
        "time",
        "step",
        "traffic",
        "champion",
        "candidate",
        "difference",
        "outcome",
    ]);
    for look in looks.iter().rev().take(LOOKS) {
        table.row([
            second(look.time),
            (look.step + 1).to_string(),
            look.share.map(per_cent).unwrap_or_default(),
            outcomes(&look.champion),
            outcomes(&look.candidate),
            difference(look),
            outcome(look.outcome).to_owned(),
        ]);
    }
    table.write(out)
}

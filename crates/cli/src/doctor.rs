//! `driftwarden doctor`: whether a deployment works, and what to mend.

mod checks;
mod finding;
mod flow;

use crate::{
    Exit, Streams,
    cloud::{EventBus, Failure, Places, QueueUrl, StateBucket, Surroundings, World, counted, json_line, option},
    people::parse_duration,
    terminal::{progress, progress_ended},
};
use finding::{Finding, Verdict};
use jiff::SignedDuration;
use serde::Serialize;
use shell::operator::{Stack, StackResource};
use std::{collections::BTreeMap, sync::Arc};

/// Look a deployment over, and say what to mend.
///
/// Asks AWS about the stack and its buckets, rules, functions, alarms, topic and dead-letter queue, about the retraining
/// pipelines, the monitoring schedules and the baselines, and holds what it sees against what has to be. Each finding says
/// what was seen and, where something is to be mended, how: mostly a command to paste. With --stack all places are known;
/// without, only what is named is looked at.
///
/// At the end it sees whether events flow. It writes a violation report without violations into the report bucket, as a
/// monitoring schedule `driftwarden-doctor` would, waits until ingest has recorded it in its ledger
/// (monitors/driftwarden-doctor.json in the state bucket), and removes the report. The ledger stays for the next time, and
/// so do the metrics of that schedule. Its window is never judged: no alert, no incident, no message follows from it.
/// --no-synthetic-report leaves that out; nothing is written then.
///
/// Ends with 0 if all is well, warnings among it; with 4 if something is broken; else with 1 if something could not be looked
/// at. Needs leave to read what it looks at, and s3:PutObject and s3:DeleteObject on the report bucket for the report.
#[derive(Debug, clap::Args)]
pub struct Doctor {
    #[command(flatten)]
    state_bucket: StateBucket,
    #[command(flatten)]
    event_bus: EventBus,
    #[command(flatten)]
    queue_url: QueueUrl,
    #[arg(
        long,
        value_name = "NAME",
        help = "The bucket that the schedules write to: ReportBucketName of the stack's parameters [env: REPORT_BUCKET]"
    )]
    report_bucket: Option<String>,
    #[arg(
        long,
        value_name = "PREFIX",
        help = "The prefix of their S3OutputUri: ReportPrefix of the stack's parameters [env: REPORT_PREFIX]"
    )]
    report_prefix: Option<String>,
    /// Write nothing: leave out whether events flow.
    #[arg(long)]
    no_synthetic_report: bool,
    /// How long the datapoint of the report is waited for: 60s, 2m.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "60s")]
    wait: SignedDuration,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
}

/// What is looked over: the places, as far as they are known.
struct Patient<W> {
    world: Arc<W>,
    stack: Option<StackFound>,
    state_bucket: Option<String>,
    event_bus: Option<String>,
    queue_url: Option<String>,
    report_bucket: Option<String>,
    report_prefix: String,
}

/// The stack.
struct StackFound {
    name: String,
    stack: Stack,
    resources: Vec<StackResource>,
}

impl StackFound {
    fn of_type<'a>(&'a self, resource_type: &'a str) -> impl Iterator<Item = &'a StackResource> {
        let resources = self.resources.iter();
        resources.filter(move |resource| resource.resource_type == resource_type)
    }

    fn output(&self, key: &str) -> Option<&String> {
        self.stack.outputs.get(key)
    }

    fn parameter(&self, key: &str) -> Option<&String> {
        self.stack.parameters.get(key).filter(|value| !value.is_empty())
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Json<'a> {
    stack: Option<&'a str>,
    verdict: Verdict,
    counts: BTreeMap<&'static str, usize>,
    findings: &'a [Finding],
}

/// The findings, shown as they come.
struct Chart {
    json: bool,
    findings: Vec<Finding>,
}

impl Chart {
    fn note(&mut self, found: impl IntoIterator<Item = Finding>, streams: &mut Streams<'_>) -> Result<(), Failure> {
        progress_ended();
        for finding in found {
            if !self.json {
                finding.show(streams.out)?;
                streams.out.flush()?;
            }
            self.findings.push(finding);
        }
        Ok(())
    }

    fn has_broken(&self, checks: &[&str]) -> bool {
        let mut broken = self
            .findings
            .iter()
            .filter(|finding| finding.verdict == Verdict::Broken);
        broken.any(|finding| checks.contains(&finding.check))
    }

    /// The gravest verdict.
    fn verdict(&self) -> Verdict {
        let verdicts = self.findings.iter().map(|finding| finding.verdict);
        let grave = verdicts.filter(|verdict| *verdict != Verdict::Skipped);
        grave.max().unwrap_or(Verdict::Ok)
    }

    fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for verdict in Verdict::ALL {
            let of = |finding: &&Finding| finding.verdict == verdict;
            counts.insert(verdict.as_str(), self.findings.iter().filter(of).count());
        }
        counts
    }

    /// The sum of it, and the exit code.
    fn end(&self, stack: Option<&str>, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let verdict = self.verdict();
        if self.json {
            let json = Json {
                stack,
                verdict,
                counts: self.counts(),
                findings: &self.findings,
            };
            json_line(streams.out, &json)?;
        } else {
            let counts = self.counts();
            let said = Verdict::ALL.into_iter().filter_map(|verdict| {
                let count = counts.get(verdict.as_str()).filter(|count| **count > 0)?;
                Some(format!("{count} {}", verdict.as_str()))
            });
            let said: Vec<String> = said.collect();
            let end = match verdict {
                Verdict::Broken => "; mend what is broken, and look again",
                Verdict::Unknown => "; what is unknown could not be looked at",
                _ => "",
            };
            let checks = counted(self.findings.len(), "finding");
            writeln!(streams.out, "\n{checks}: {}{end}", said.join(", "))?;
        }
        Ok(match verdict {
            Verdict::Ok | Verdict::Warning | Verdict::Skipped => Exit::Done,
            Verdict::Unknown => Exit::Failed,
            Verdict::Broken => Exit::Broken,
        })
    }
}

impl Doctor {
    /// Runs the command.
    pub(crate) async fn run<S: Surroundings>(&self, around: &S, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let mut chart = Chart {
            json: self.json,
            findings: Vec::new(),
        };
        let name = self.state_bucket.stack.given(around);
        let world = around.connect(Places::default()).await?;
        chart.note([checks::credentials(world.as_ref()).await], streams)?;
        if chart.has_broken(&["credentials"]) {
            return chart.end(name.as_deref(), streams);
        }
        let stack = match &name {
            None => {
                let why = "no stack is named, so that its rules, functions, topic and alarms are not known";
                chart.note(
                    [Finding::skipped("stack", why).mend("driftwarden doctor --stack NAME")],
                    streams,
                )?;
                None
            }
            Some(name) => {
                let (finding, found) = checks::stack(world.as_ref(), name).await;
                chart.note([finding], streams)?;
                if found.is_none() {
                    return chart.end(Some(name), streams);
                }
                found
            }
        };
        let patient = self.patient(around, stack).await?;
        self.examine(&patient, &mut chart, streams).await?;
        chart.end(name.as_deref(), streams)
    }

    /// Where everything is: as the options say, then the stack, then the environment.
    async fn patient<S: Surroundings>(
        &self,
        around: &S,
        stack: Option<StackFound>,
    ) -> Result<Patient<S::World>, Failure> {
        let name = &self.state_bucket.stack;
        let state_bucket = self.state_bucket.given(around).await?;
        let event_bus = self.event_bus.given(name, around).await?;
        let queue_url = self.queue_url.given(name, around).await?;
        let places = Places {
            state_bucket: state_bucket.clone(),
            event_bus: event_bus.clone(),
        };
        let of_stack = |key: &str| stack.as_ref().and_then(|found| found.parameter(key)).cloned();
        let reports = option(self.report_bucket.as_ref(), "", around)
            .or_else(|| of_stack("ReportBucketName"))
            .or_else(|| option(None, "REPORT_BUCKET", around));
        let prefix = option(self.report_prefix.as_ref(), "", around)
            .or_else(|| of_stack("ReportPrefix"))
            .or_else(|| option(None, "REPORT_PREFIX", around));
        let prefix = prefix.unwrap_or_default();
        let first = prefix.split(',').next().unwrap_or_default();
        Ok(Patient {
            world: around.connect(places).await?,
            report_bucket: reports,
            report_prefix: first.trim().trim_matches('/').to_owned(),
            stack,
            state_bucket,
            event_bus,
            queue_url,
        })
    }

    async fn examine<W: World>(
        &self,
        patient: &Patient<W>,
        chart: &mut Chart,
        streams: &mut Streams<'_>,
    ) -> Result<(), Failure> {
        progress("looking …");
        chart.note(patient.state().await, streams)?;
        let (finding, policy) = patient.policy().await;
        chart.note(finding, streams)?;
        chart.note([patient.report_bucket().await], streams)?;
        chart.note(patient.rules().await, streams)?;
        chart.note(patient.functions().await, streams)?;
        chart.note(patient.failures().await, streams)?;
        chart.note(patient.pipelines(&policy).await, streams)?;
        chart.note([patient.topic().await], streams)?;
        chart.note([patient.dead_letters().await], streams)?;
        chart.note(patient.alarms().await, streams)?;
        chart.note(patient.schedules().await, streams)?;
        chart.note(patient.baselines(&policy).await, streams)?;
        let broken = chart.has_broken(&["state bucket", "report bucket", "rules", "functions"]);
        let flow = if self.no_synthetic_report {
            Finding::skipped("event flow", "--no-synthetic-report")
        } else if broken {
            Finding::skipped("event flow", "nothing can flow before what is broken above is mended")
        } else {
            patient.flow(self.wait).await
        };
        chart.note([flow], streams)
    }
}

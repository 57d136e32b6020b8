//! `driftwarden doctor`: diagnoses a deployment, and prints a fix for each problem.

mod checks;
mod finding;
mod flow;

use crate::{
    Exit, Streams,
    cloud::{AwsTargets, Clients, Environment, EventBus, QueueUrl, StateBucket, json_line, option},
    error::Failure,
    operator::parse_duration,
    terminal::{progress, progress_ended},
};
use finding::{Finding, Verdict};
use jiff::SignedDuration;
use serde::Serialize;
use shell::operator::{Stack, StackResource};
use std::{collections::BTreeMap, sync::Arc};

/// Diagnose a deployment and print a fix for each problem.
///
/// Checks the stack and its buckets, rules, functions, alarms, topic, and dead-letter queue, and also the retraining pipelines,
/// the monitoring schedules, and the baselines. Each finding states what was found and, for a problem, how to fix it: usually a
/// command to paste. With --stack, the command finds all resources; without it, it checks only the resources that you name.
///
/// The last check tests the event flow. It writes a violation report without violations to the report bucket, for a monitoring
/// schedule `driftwarden-doctor`, waits until ingest has recorded it in its ledger (monitors/driftwarden-doctor.json in the
/// state bucket), and deletes the report. The ledger and the metrics of that schedule remain. The schedule is never evaluated:
/// it causes no alert, incident, or notification. With --no-synthetic-report, the command writes nothing.
///
/// Exit codes: 0 no problem or only warnings, 1 a check could not run, 4 a check failed. Requires read permission for the
/// resources that it checks, and s3:PutObject and s3:DeleteObject on the report bucket for the report.
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
        help = "Bucket of the monitoring reports [default: the stack's ReportBucketName] [env: REPORT_BUCKET]",
        display_order = 104
    )]
    report_bucket: Option<String>,
    #[arg(
        long,
        value_name = "PREFIX",
        help = "Prefix of the S3OutputUri of the schedules [default: the stack's ReportPrefix] [env: REPORT_PREFIX]",
        display_order = 105
    )]
    report_prefix: Option<String>,
    /// Skip the check of the event flow, and write nothing.
    #[arg(long)]
    no_synthetic_report: bool,
    /// Maximum time to wait for the datapoint of the report: 60s, 2m.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "60s")]
    wait: SignedDuration,
    /// Print one JSON object.
    #[arg(long, display_order = 110)]
    json: bool,
}

/// The resources to check, if known.
struct CheckedDeployment<W> {
    clients: Arc<W>,
    stack: Option<FoundStack>,
    state_bucket: Option<String>,
    event_bus: Option<String>,
    queue_url: Option<String>,
    report_bucket: Option<String>,
    report_prefix: String,
}

/// The stack and its resources.
struct FoundStack {
    name: String,
    stack: Stack,
    resources: Vec<StackResource>,
}

impl FoundStack {
    fn resources_of_type<'a>(&'a self, resource_type: &'a str) -> impl Iterator<Item = &'a StackResource> {
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

/// JSON output.
#[derive(Serialize)]
struct Json<'a> {
    stack: Option<&'a str>,
    verdict: Verdict,
    counts: BTreeMap<&'static str, usize>,
    findings: &'a [Finding],
}

/// The findings. Each is printed immediately.
struct Report {
    json: bool,
    findings: Vec<Finding>,
}

impl Report {
    fn add(&mut self, found: impl IntoIterator<Item = Finding>, streams: &mut Streams<'_>) -> Result<(), Failure> {
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

    /// The most severe verdict.
    fn verdict(&self) -> Verdict {
        let verdicts = self.findings.iter().map(|finding| finding.verdict);
        let checked = verdicts.filter(|verdict| *verdict != Verdict::Skipped);
        checked.max().unwrap_or(Verdict::Ok)
    }

    fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for verdict in Verdict::ALL {
            let matches = |finding: &&Finding| finding.verdict == verdict;
            counts.insert(verdict.as_str(), self.findings.iter().filter(matches).count());
        }
        counts
    }

    /// Prints the summary, and returns the exit code.
    fn finish(&self, stack: Option<&str>, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
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
            let totals = Verdict::ALL.into_iter().filter_map(|verdict| {
                let count = counts.get(verdict.as_str()).filter(|count| **count > 0)?;
                Some(format!("{count} {}", verdict.as_str()))
            });
            let totals: Vec<String> = totals.collect();
            let end = match verdict {
                Verdict::Broken => "; fix the broken checks and run the command again",
                Verdict::Unknown => "; the unknown checks could not run",
                _ => "",
            };
            let checks = text::count(self.findings.len(), "finding");
            writeln!(streams.out, "\n{checks}: {}{end}", totals.join(", "))?;
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
    pub(crate) async fn run<S: Environment>(&self, env: &S, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let mut report = Report {
            json: self.json,
            findings: Vec::new(),
        };
        let name = self.state_bucket.stack.optional(env);
        let clients = env.connect(AwsTargets::default()).await?;
        report.add([checks::credentials(clients.as_ref()).await], streams)?;
        if report.has_broken(&["credentials"]) {
            return report.finish(name.as_deref(), streams);
        }
        let stack = match &name {
            None => {
                let why = "no stack configured: rules, functions, topic, and alarms are not checked";
                report.add(
                    [Finding::skipped("stack", why).with_remedy("driftwarden doctor --stack NAME")],
                    streams,
                )?;
                None
            }
            Some(name) => {
                let (finding, found) = checks::stack(clients.as_ref(), name).await;
                report.add([finding], streams)?;
                if found.is_none() {
                    return report.finish(Some(name), streams);
                }
                found
            }
        };
        let deployment = self.find_resources(env, stack).await?;
        self.check(&deployment, &mut report, streams).await?;
        report.finish(name.as_deref(), streams)
    }

    /// Finds the resources: from the options, then the stack, then the environment.
    async fn find_resources<S: Environment>(
        &self,
        env: &S,
        stack: Option<FoundStack>,
    ) -> Result<CheckedDeployment<S::Clients>, Failure> {
        let name = &self.state_bucket.stack;
        let state_bucket = self.state_bucket.optional(env).await?;
        let event_bus = self.event_bus.optional(name, env).await?;
        let queue_url = self.queue_url.optional(name, env).await?;
        let targets = AwsTargets {
            state_bucket: state_bucket.clone(),
            event_bus: event_bus.clone(),
        };
        let from_stack = |key: &str| stack.as_ref().and_then(|found| found.parameter(key)).cloned();
        let reports = option(self.report_bucket.as_ref(), "", env)
            .or_else(|| from_stack("ReportBucketName"))
            .or_else(|| option(None, "REPORT_BUCKET", env));
        let prefix = option(self.report_prefix.as_ref(), "", env)
            .or_else(|| from_stack("ReportPrefix"))
            .or_else(|| option(None, "REPORT_PREFIX", env));
        let prefix = prefix.unwrap_or_default();
        let first = prefix.split(',').next().unwrap_or_default();
        Ok(CheckedDeployment {
            clients: env.connect(targets).await?,
            report_bucket: reports,
            report_prefix: first.trim().trim_matches('/').to_owned(),
            stack,
            state_bucket,
            event_bus,
            queue_url,
        })
    }

    async fn check<W: Clients>(
        &self,
        deployment: &CheckedDeployment<W>,
        report: &mut Report,
        streams: &mut Streams<'_>,
    ) -> Result<(), Failure> {
        progress("checking …");
        report.add(deployment.state().await, streams)?;
        let (finding, policy) = deployment.policy().await;
        report.add(finding, streams)?;
        report.add([deployment.report_bucket().await], streams)?;
        report.add(deployment.rules().await, streams)?;
        report.add(deployment.functions().await, streams)?;
        report.add(deployment.failures().await, streams)?;
        report.add(deployment.pipelines(&policy).await, streams)?;
        report.add([deployment.topic().await], streams)?;
        report.add([deployment.dead_letters().await], streams)?;
        report.add(deployment.alarms().await, streams)?;
        report.add(deployment.schedules().await, streams)?;
        report.add(deployment.baselines(&policy).await, streams)?;
        let broken = report.has_broken(&["state bucket", "report bucket", "rules", "functions"]);
        let flow = if self.no_synthetic_report {
            Finding::skipped("event flow", "--no-synthetic-report")
        } else if broken {
            Finding::skipped("event flow", "skipped because of the broken checks above")
        } else {
            deployment.flow(self.wait).await
        };
        report.add([flow], streams)
    }
}

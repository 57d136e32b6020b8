//! What is looked at, one function a check.

use super::{
    Patient, StackFound,
    finding::{Finding, quoted},
};
use crate::{
    cloud::{World, counted, named_ledgers, second},
    redrive,
};
use alerting::{DOCTOR_SCHEDULE, HealthStatus, MonitorLedger};
use futures_util::future::{join_all, try_join_all};
use jiff::{SignedDuration, Timestamp};
use model_monitor::ScheduleExpression;
use remediation::{Policy, StartKind};
use serde_json::json;
use shell::{
    AwsError, Kind, POLICY_KEY,
    operator::{FunctionConfiguration, Rule, StackResource},
    ports::{Fetched, MetricQuery, Schedule},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// So many questions are asked at the same time.
const AT_ONCE: usize = 16;
/// So many of a kind are named; of the others only how many there are is told.
const NAMED: usize = 5;
/// An execution begins up to 20 minutes late and takes its time; then an execution that was due has to be known.
const GRACE: SignedDuration = SignedDuration::from_hours(3);
/// A schedule that is younger may not have had an execution yet.
const YOUNG: SignedDuration = SignedDuration::from_hours(25);
/// For how long nobody else sees the failed events that are looked at, should they not be put back.
const HIDDEN: Duration = Duration::from_secs(30);

/// What the functions' variables have to be: the outputs and parameters of the stack that they come from.
const VARIABLES: [(&str, Source); 8] = [
    ("STATE_BUCKET", Source::Output("StateBucketName")),
    ("EVENT_BUS_NAME", Source::Output("EventBusName")),
    ("TOPIC_ARN", Source::Output("TopicArn")),
    ("REPORT_BUCKET", Source::Parameter("ReportBucketName")),
    ("REPORT_PREFIX", Source::Parameter("ReportPrefix")),
    ("METRIC_NAMESPACE", Source::Parameter("MetricNamespace")),
    ("RETRAINING_PIPELINE", Source::Parameter("RetrainingPipelineName")),
    ("PIPELINE_START", Source::Parameter("PipelineStart")),
];

#[derive(Clone, Copy)]
enum Source {
    Output(&'static str),
    Parameter(&'static str),
}

/// Whose credentials, and where.
pub(super) async fn credentials(world: &impl World) -> Finding {
    match world.whoami().await {
        Ok(who) => Finding::ok("credentials", who),
        Err(error) => Finding::broken("credentials", error.message).mend("aws configure"),
    }
}

/// The stack; `None` if it cannot be looked at.
pub(super) async fn stack(world: &impl World, name: &str) -> (Finding, Option<StackFound>) {
    let check = "stack";
    let stack = match world.stack(name).await {
        Ok(Some(stack)) => stack,
        Ok(None) => {
            let seen = format!("there is no stack `{name}` in this account and region");
            let remedy = "aws cloudformation describe-stacks --query 'Stacks[].StackName'";
            return (Finding::broken(check, seen).mend(remedy), None);
        }
        Err(error) => return (Finding::unseen(check, &error), None),
    };
    let resources = match world.stack_resources(name).await {
        Ok(resources) => resources,
        Err(error) => return (Finding::unseen(check, &error), None),
    };
    let status = &stack.status;
    let why = stack
        .status_reason
        .as_deref()
        .map_or(String::new(), |why| format!(" ({why})"));
    let failed: Vec<String> = resources
        .iter()
        .filter(|resource| resource.status.ends_with("_FAILED"))
        .map(|resource| format!("{} is {}", resource.logical_id, resource.status))
        .collect();
    let events = format!("aws cloudformation describe-stack-events --stack-name {}", quoted(name));
    let finding = match status.as_str() {
        "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "IMPORT_COMPLETE" if failed.is_empty() => Finding::ok(
            check,
            format!("`{name}` is {status}, {}", counted(resources.len(), "resource")),
        ),
        "UPDATE_ROLLBACK_COMPLETE" => {
            let seen = format!("`{name}` is {status}{why}: the last update failed, what was before it is in force");
            Finding::warning(check, seen).mend(events)
        }
        status if status.ends_with("_IN_PROGRESS") => {
            Finding::warning(check, format!("`{name}` is {status}: look again when that is over"))
        }
        status => {
            let failed = some(&failed);
            Finding::broken(
                check,
                format!("`{name}` is {status}{why}{}{failed}", separator(&failed)),
            )
            .mend(events)
        }
    };
    let name = name.to_owned();
    (finding, Some(StackFound { name, stack, resources }))
}

fn separator(text: &str) -> &'static str {
    if text.is_empty() { "" } else { ": " }
}

/// Some names, and how many there are more.
fn some(names: &[String]) -> String {
    let first: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    let text = first.join(", ");
    match names.len() {
        all if all > NAMED => format!("{text} and {} more", all - NAMED),
        _ => text,
    }
}

/// A rule of the stack, where it was found.
struct RuleFound {
    logical_id: String,
    bus: String,
    name: String,
    rule: Option<Rule>,
}

impl<W: World> Patient<W> {
    /// What shows how a resource differs from what the template says.
    fn drift(&self) -> String {
        let name = self.stack.as_ref().map_or("NAME", |found| &found.name);
        format!("aws cloudformation detect-stack-drift --stack-name {}", quoted(name))
    }

    /// What shows the errors of a function.
    pub(super) fn logs(&self, function: &str) -> String {
        let stack = self.stack.as_ref().map_or("STACK", |found| &found.name);
        let group = format!("/aws/lambda/{stack}-{function}");
        format!("aws logs tail {} --since 1h --filter-pattern ERROR", quoted(&group))
    }

    /// The bucket of the documents.
    pub(super) async fn state(&self) -> Vec<Finding> {
        let check = "state bucket";
        let Some(name) = &self.state_bucket else {
            return vec![Finding::skipped(
                check,
                "it is not known: name it with --state-bucket, or a stack",
            )];
        };
        let settings = match self.world.bucket(name).await {
            Ok(Some(settings)) => settings,
            Ok(None) => {
                let seen = format!("there is no bucket `{name}`: every document was in it");
                return vec![Finding::broken(check, seen).mend(self.drift())];
            }
            Err(error) => return vec![Finding::unseen(check, &error)],
        };
        let documents = match self.world.list("").await {
            Ok(keys) => counted(keys.len(), "document"),
            Err(error) => return vec![Finding::unseen(check, &error)],
        };
        let mut findings = Vec::new();
        if !settings.versioned {
            let seen =
                format!("`{name}` keeps no versions: what a document was before is lost, and the audit trail with it");
            findings.push(Finding::broken(check, seen).mend(format!(
                "aws s3api put-bucket-versioning --bucket {} --versioning-configuration Status=Enabled",
                quoted(name)
            )));
        }
        let guarded = settings
            .policy
            .is_some_and(|policy| policy.contains("DenyUnconditionalWrites"));
        if !guarded {
            let seen = format!(
                "the policy of `{name}` lacks DenyUnconditionalWrites: who overwrites a document loses what others wrote"
            );
            findings.push(Finding::warning(check, seen).mend(self.drift()));
        }
        if findings.is_empty() {
            findings.push(Finding::ok(
                check,
                format!("`{name}`: {documents}, versions are kept, writes are guarded"),
            ));
        }
        findings
    }

    /// The policy in force: what is found, and the policy; its defaults if it cannot be read.
    pub(super) async fn policy(&self) -> (Vec<Finding>, Policy) {
        let check = "policy";
        if self.state_bucket.is_none() {
            return (Vec::new(), Policy::default());
        }
        let body = match self.world.read(POLICY_KEY, None).await {
            Ok(Fetched::Found(body, _)) => body,
            Ok(Fetched::Absent | Fetched::Unchanged) => {
                let seen = "there is none: the defaults hold, by which nothing is retrained without a person";
                return (vec![Finding::ok(check, seen)], Policy::default());
            }
            Err(error) => return (vec![Finding::unseen(check, &error)], Policy::default()),
        };
        match Policy::parse(&body) {
            Ok(policy) => {
                let seen = format!("{POLICY_KEY} holds: version {}", policy.version());
                (vec![Finding::ok(check, seen)], policy)
            }
            Err(error) => {
                let seen = format!(
                    "{POLICY_KEY} cannot hold, and its last good version stays in force where there is one: {}",
                    shell::chain(&error)
                );
                let bucket = self.state_bucket.as_deref().unwrap_or_default();
                let remedy = format!(
                    "aws s3 cp {} . && $EDITOR {POLICY_KEY} && driftwarden policy push {POLICY_KEY} --state-bucket {}",
                    quoted(&format!("s3://{bucket}/{POLICY_KEY}")),
                    quoted(bucket)
                );
                (vec![Finding::broken(check, seen).mend(remedy)], Policy::default())
            }
        }
    }

    /// The bucket of the reports.
    pub(super) async fn report_bucket(&self) -> Finding {
        let check = "report bucket";
        let Some(name) = &self.report_bucket else {
            return Finding::skipped(check, "it is not known: name it with --report-bucket, or a stack");
        };
        match self.world.sends_events(name).await {
            Ok(true) => Finding::ok(check, format!("`{name}` sends its events to EventBridge")),
            Ok(false) => {
                let seen = format!(
                    "`{name}` sends no events to EventBridge: no report is heard of until the sweep finds its execution"
                );
                // The command replaces all that the bucket notifies: what is there is kept.
                let bucket = quoted(name);
                Finding::broken(check, seen).mend(format!(
                    "aws s3api get-bucket-notification-configuration --bucket {bucket} --output json | jq -s '(.[0] // {{}}) + \
                     {{EventBridgeConfiguration: {{}}}}' > after.json && aws s3api put-bucket-notification-configuration \
                     --bucket {bucket} --notification-configuration file://after.json"
                ))
            }
            Err(error) if error.kind == Kind::NotFound => Finding::broken(
                check,
                format!("there is no bucket `{name}`: name the right one in the stack's parameters"),
            ),
            Err(error) => Finding::unseen(check, &error),
        }
    }

    /// The rules of the stack, each with its target and the dead-letter queue.
    pub(super) async fn rules(&self) -> Vec<Finding> {
        let check = "rules";
        let Some(stack) = &self.stack else {
            return Vec::new();
        };
        let resources: Vec<&StackResource> = stack.of_type("AWS::Events::Rule").collect();
        let mut found = Vec::new();
        for chunk in resources.chunks(AT_ONCE) {
            match try_join_all(chunk.iter().map(|resource| self.rule(resource))).await {
                Ok(rules) => found.extend(rules),
                Err(error) => return vec![Finding::unseen(check, &error)],
            }
        }
        let queue = stack.output("DeadLetterQueueArn");
        let findings: Vec<Finding> = found.iter().filter_map(|rule| self.wrong_with(rule, queue)).collect();
        if !findings.is_empty() {
            return findings;
        }
        let all = counted(found.len(), "rule");
        vec![Finding::ok(
            check,
            format!("{all}, each enabled, with its target and the dead-letter queue"),
        )]
    }

    /// A rule on our bus is called by both names, `bus|rule`; on which bus one is that is not, only a look tells.
    async fn rule(&self, resource: &StackResource) -> Result<RuleFound, AwsError> {
        let physical = resource.physical_id.rsplit('/').next().unwrap_or_default();
        let own = self.event_bus.as_deref();
        let (buses, name) = match physical.split_once('|') {
            Some((bus, name)) => (vec![bus], name),
            None => (["default"].into_iter().chain(own).collect(), physical),
        };
        let mut found = RuleFound {
            logical_id: resource.logical_id.clone(),
            bus: buses.first().copied().unwrap_or_default().to_owned(),
            name: name.to_owned(),
            rule: None,
        };
        for bus in buses {
            found.rule = self.world.rule(bus, name).await?;
            if found.rule.is_some() {
                bus.clone_into(&mut found.bus);
                break;
            }
        }
        Ok(found)
    }

    fn wrong_with(&self, found: &RuleFound, queue: Option<&String>) -> Option<Finding> {
        let RuleFound {
            logical_id,
            bus,
            name,
            rule,
        } = found;
        let broken = |seen: &str| Finding::broken("rules", format!("{logical_id} (`{name}`, bus `{bus}`) {seen}"));
        let Some(rule) = rule else {
            return Some(broken("is not there: its events go nowhere").mend(self.drift()));
        };
        if !rule.enabled {
            return Some(broken("is disabled: its events go nowhere").mend(format!(
                "aws events enable-rule --name {} --event-bus-name {}",
                quoted(name),
                quoted(bus)
            )));
        }
        if rule.targets.is_empty() {
            return Some(broken("has no target: its events go nowhere").mend(self.drift()));
        }
        let lost = |target: &str| broken(&format!("does not keep what {target} could not be given")).mend(self.drift());
        let mut targets = rule.targets.iter();
        let loose = targets.find(|target| {
            target.dead_letter_queue.is_none()
                || queue.is_some_and(|queue| target.dead_letter_queue.as_ref() != Some(queue))
        });
        loose.map(|target| lost(&target.arn))
    }

    /// The functions of the stack: whether they run, and whether they look where the stack says.
    pub(super) async fn functions(&self) -> Vec<Finding> {
        let check = "functions";
        let Some(stack) = &self.stack else {
            return Vec::new();
        };
        let names: Vec<&str> = self.function_names().collect();
        let read = join_all(names.iter().map(|name| self.world.function(name))).await;
        let mut findings = Vec::new();
        for (name, function) in names.iter().zip(read) {
            match function {
                Ok(Some(function)) => findings.extend(wrong_with_function(stack, name, &function)),
                Ok(None) => {
                    let seen = format!("`{name}` is not there: what it is for is not done");
                    findings.push(Finding::broken(check, seen).mend(self.drift()));
                }
                Err(error) => findings.push(Finding::unseen(check, &error)),
            }
        }
        if findings.is_empty() {
            let all = counted(names.len(), "function");
            findings.push(Finding::ok(
                check,
                format!("{all}, each active, with the variables that the stack gives"),
            ));
        }
        findings
    }

    fn function_names(&self) -> impl Iterator<Item = &str> {
        let resources = self
            .stack
            .iter()
            .flat_map(|stack| stack.of_type("AWS::Lambda::Function"));
        resources.map(|resource| resource.physical_id.rsplit(':').next().unwrap_or_default())
    }

    /// How often the functions failed in the last day.
    pub(super) async fn failures(&self) -> Vec<Finding> {
        let check = "errors";
        let names: Vec<&str> = self.function_names().collect();
        if names.is_empty() {
            return Vec::new();
        }
        let queries: Vec<MetricQuery> = names
            .iter()
            .map(|name| MetricQuery {
                namespace: "AWS/Lambda".to_owned(),
                metric_name: "Errors".to_owned(),
                dimensions: vec![("FunctionName".to_owned(), (*name).to_owned())],
                statistic: "Sum".to_owned(),
            })
            .collect();
        let now = self.world.now();
        let from = now.saturating_sub(SignedDuration::from_hours(24)).unwrap_or(now);
        let values = self
            .world
            .metric_data(&queries, from, now, Duration::from_hours(1))
            .await;
        let values = match values {
            Ok(values) => values,
            Err(error) => return vec![Finding::unseen(check, &error)],
        };
        let mut findings = Vec::new();
        for (name, values) in names.iter().zip(values) {
            let errors: f64 = values.iter().map(|(_, value)| value).sum();
            if errors > 0.0 {
                let seen = format!("`{name}` failed {errors} times in the last 24 hours, retries among them");
                let group = format!("/aws/lambda/{name}");
                findings.push(Finding::warning(check, seen).mend(format!(
                    "aws logs tail {} --since 1d --filter-pattern ERROR",
                    quoted(&group)
                )));
            }
        }
        if findings.is_empty() {
            findings.push(Finding::ok(check, "no function failed in the last 24 hours"));
        }
        findings
    }

    /// The retraining pipelines that the stack and the policy name, and the parameters that they will be given.
    pub(super) async fn pipelines(&self, policy: &Policy) -> Vec<Finding> {
        let check = "pipelines";
        let own = self
            .stack
            .as_ref()
            .and_then(|stack| stack.parameter("RetrainingPipelineName"));
        let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        // The first stands for every model that the policy does not name.
        for model in [DOCTOR_SCHEDULE].into_iter().chain(policy.models()) {
            let retraining = policy.model(model).retraining;
            if retraining.start != StartKind::Pipeline {
                continue;
            }
            let Some(pipeline) = retraining.pipeline.as_ref().or(own) else {
                continue;
            };
            let names = wanted.entry(pipeline.clone()).or_default();
            names.extend(retraining.parameters.into_keys());
        }
        let mut findings = Vec::new();
        for (pipeline, parameters) in &wanted {
            match self.world.pipeline_parameters(pipeline).await {
                Ok(Some(declared)) => {
                    let undeclared = parameters.iter().filter(|name| !declared.contains(name));
                    let undeclared: Vec<String> = undeclared.map(|name| format!("`{name}`")).collect();
                    if undeclared.is_empty() {
                        continue;
                    }
                    let seen = format!(
                        "pipeline `{pipeline}` does not declare {}, and SageMaker refuses to start it with parameters that it \
                         does not declare",
                        some(&undeclared)
                    );
                    findings.push(Finding::broken(check, seen).mend(
                        "declare them in the pipeline's definition, or name those that it has under `parameters` of \
                         [remediation] in policy.toml",
                    ));
                }
                Ok(None) => {
                    let seen = format!("there is no pipeline `{pipeline}`: no retraining can be started");
                    let remedy = "aws sagemaker list-pipelines --query 'PipelineSummaries[].PipelineName'";
                    findings.push(Finding::broken(check, seen).mend(remedy));
                }
                Err(error) => findings.push(Finding::unseen(check, &error)),
            }
        }
        if findings.is_empty() && !wanted.is_empty() {
            let names: Vec<String> = wanted.keys().map(|name| format!("`{name}`")).collect();
            let seen = format!("{} can be started as the policy says", some(&names));
            findings.push(Finding::ok(check, seen));
        }
        findings
    }

    /// Who listens to the topic.
    pub(super) async fn topic(&self) -> Finding {
        let check = "topic";
        let Some(topic) = self.stack.as_ref().and_then(|stack| stack.output("TopicArn")) else {
            return Finding::skipped(check, "it is not known: name a stack");
        };
        let subscribe = format!(
            "aws sns subscribe --topic-arn {} --protocol email --notification-endpoint YOU@EXAMPLE.COM",
            quoted(topic)
        );
        match self.world.subscriptions(topic).await {
            Ok(subscriptions) => {
                let (confirmed, pending): (Vec<_>, Vec<_>) =
                    subscriptions.iter().partition(|subscription| subscription.confirmed);
                let pending: Vec<String> = pending
                    .iter()
                    .map(|subscription| format!("{} ({})", subscription.endpoint, subscription.protocol))
                    .collect();
                match (confirmed.len(), pending.len()) {
                    (0, 0) => Finding::warning(check, "nobody listens: what people should know is told to nobody")
                        .mend(subscribe),
                    (0, _) => Finding::warning(
                        check,
                        format!(
                            "nobody listens yet: {} has not confirmed the subscription",
                            some(&pending)
                        ),
                    )
                    .mend("open the message of AWS Notifications, and confirm"),
                    (confirmed, 0) => Finding::ok(check, counted(confirmed, "confirmed subscription")),
                    (confirmed, _) => Finding::warning(
                        check,
                        format!(
                            "{}; {} has not confirmed",
                            counted(confirmed, "confirmed subscription"),
                            some(&pending)
                        ),
                    )
                    .mend("open the message of AWS Notifications, and confirm"),
                }
            }
            Err(error) => Finding::unseen(check, &error),
        }
    }

    /// Events that failed.
    pub(super) async fn dead_letters(&self) -> Finding {
        let check = "dead letters";
        let Some(queue) = &self.queue_url else {
            return Finding::skipped(check, "the queue is not known: name it with --queue-url, or a stack");
        };
        let waiting = match self.world.waiting(queue).await {
            Ok(0) => return Finding::ok(check, "the dead-letter queue is empty"),
            Ok(waiting) => waiting,
            Err(error) => return Finding::unseen(check, &error),
        };
        let mut seen = format!("{waiting} failed events wait in the dead-letter queue");
        if waiting == 1 {
            "a failed event waits in the dead-letter queue".clone_into(&mut seen);
        }
        match self.world.receive(queue, HIDDEN).await {
            Ok(letters) => {
                let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
                for letter in &letters {
                    *kinds.entry(redrive::error_type(letter)).or_default() += 1;
                }
                let restored = join_all(letters.iter().map(|letter| self.world.restore(queue, letter))).await;
                if let Some(error) = restored.iter().find_map(|restored| restored.as_ref().err()) {
                    return Finding::unseen(check, error);
                }
                let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
                let kinds = kinds.join(", ");
                seen = format!("{seen}{}{kinds}", separator(&kinds));
            }
            Err(error) => return Finding::unseen(check, &error),
        }
        let queue = quoted(queue);
        Finding::broken(check, seen).mend(format!(
            "driftwarden redrive --queue-url {queue} --dry-run, then mend the cause, then driftwarden redrive --queue-url {queue}"
        ))
    }

    /// The alarms of the stack.
    pub(super) async fn alarms(&self) -> Vec<Finding> {
        let check = "alarms";
        let Some(stack) = &self.stack else {
            return Vec::new();
        };
        let names: Vec<String> = stack
            .of_type("AWS::CloudWatch::Alarm")
            .map(|resource| resource.physical_id.clone())
            .collect();
        if names.is_empty() {
            return Vec::new();
        }
        let alarms = match self.world.alarms(&names).await {
            Ok(alarms) => alarms,
            Err(error) => return vec![Finding::unseen(check, &error)],
        };
        let mut findings: Vec<Finding> = alarms
            .iter()
            .filter(|alarm| alarm.state == "ALARM")
            .map(|alarm| {
                let name = quoted(&alarm.name);
                Finding::warning(check, format!("`{}` is in ALARM: {}", alarm.name, alarm.reason)).mend(format!(
                    "aws cloudwatch describe-alarm-history --alarm-name {name} --max-items 5"
                ))
            })
            .collect();
        let known: BTreeSet<&str> = alarms.iter().map(|alarm| alarm.name.as_str()).collect();
        let gone: Vec<String> = names
            .iter()
            .filter(|name| !known.contains(name.as_str()))
            .map(|name| format!("`{name}`"))
            .collect();
        if !gone.is_empty() {
            let seen = format!("{} not there", is_or_are(&gone));
            findings.push(Finding::warning(check, seen).mend(self.drift()));
        }
        if findings.is_empty() {
            findings.push(Finding::ok(
                check,
                format!("{}, none in ALARM", counted(alarms.len(), "alarm")),
            ));
        }
        findings
    }

    /// The monitoring schedules, as SageMaker lists them, beside the ledgers.
    pub(super) async fn schedules(&self) -> Vec<Finding> {
        let check = "schedules";
        if self.state_bucket.is_none() {
            return Vec::new();
        }
        let schedules = match self.world.schedules().await {
            Ok(schedules) => schedules,
            Err(error) => return vec![Finding::unseen(check, &error)],
        };
        let ledgers = match named_ledgers(self.world.as_ref()).await {
            Ok(ledgers) => ledgers,
            Err(error) => return vec![Finding::unseen(check, &error)],
        };
        let mut findings = Vec::new();
        let mut known: BTreeMap<String, MonitorLedger> = BTreeMap::new();
        for (name, ledger) in ledgers {
            match ledger {
                Ok(ledger) => drop(known.insert(name, ledger)),
                Err(error) => findings.push(Finding::broken(check, error).mend(
                    "put back an earlier version of the document: aws s3api list-object-versions --bucket … --prefix …",
                )),
            }
        }
        known.remove(DOCTOR_SCHEDULE);
        let of_status = |status: &str| {
            let of = schedules.iter().filter(|schedule| schedule.status == status);
            of.map(|schedule| format!("`{}`", schedule.name)).collect::<Vec<_>>()
        };
        let (failed, stopped) = (of_status("Failed"), of_status("Stopped"));
        if !failed.is_empty() {
            let seen = format!(
                "{} Failed: SageMaker does not run {}",
                is_or_are(&failed),
                it_or_them(&failed)
            );
            findings.push(Finding::broken(check, seen).mend(describe(&schedules, "Failed")));
        }
        if !stopped.is_empty() {
            let seen = format!(
                "{} Stopped: what {} for goes unwatched",
                is_or_are(&stopped),
                it_is(&stopped)
            );
            let name = schedules
                .iter()
                .find(|schedule| schedule.status == "Stopped")
                .map_or("", |s| &s.name);
            findings.push(Finding::warning(check, seen).mend(format!(
                "aws sagemaker start-monitoring-schedule --monitoring-schedule-name {}",
                quoted(name)
            )));
        }
        let unhealthy: Vec<String> = known
            .values()
            .filter(|ledger| ledger.health.status == HealthStatus::Unhealthy)
            .map(|ledger| format!("`{}`", ledger.monitor.schedule))
            .collect();
        if !unhealthy.is_empty() {
            let seen = format!(
                "{} Unhealthy: the latest executions failed, had no data, or never ran",
                is_or_are(&unhealthy)
            );
            let first = unhealthy.first().map_or("", |name| name.trim_matches('`'));
            findings.push(Finding::warning(check, seen).mend(format!(
                "aws sagemaker list-monitoring-executions --monitoring-schedule-name {} --max-results 3",
                quoted(first)
            )));
        }
        findings.extend(self.silent(&schedules, &known).await);
        if findings.is_empty() {
            let (schedules, ledgers) = (counted(schedules.len(), "schedule"), counted(known.len(), "ledger"));
            findings.push(Finding::ok(
                check,
                format!("{schedules} in SageMaker, {ledgers}, all of them well"),
            ));
        }
        findings
    }

    /// Schedules that nothing was ever heard of, and those whose latest execution that is known is older than it should be.
    async fn silent(&self, schedules: &[Schedule], known: &BTreeMap<String, MonitorLedger>) -> Vec<Finding> {
        let check = "schedules";
        let now = self.world.now();
        let before = |duration| now.saturating_sub(duration).unwrap_or(Timestamp::MIN);
        let (mut unheard, mut asked) = (Vec::new(), Vec::new());
        for schedule in schedules.iter().filter(|schedule| schedule.status == "Scheduled") {
            match known.get(&schedule.name.to_ascii_lowercase()) {
                Some(ledger) => asked.push((schedule, ledger)),
                None if schedule.created < before(YOUNG) => unheard.push(format!("`{}`", schedule.name)),
                None => {}
            }
        }
        let mut findings = Vec::new();
        if !unheard.is_empty() {
            let seen = format!(
                "nothing was ever heard of {}: do they write to another bucket or prefix than ReportBucketName and ReportPrefix \
                 say?",
                some(&unheard)
            );
            findings.push(Finding::warning(check, seen).mend(describe_named(unheard.first())));
        }
        let mut late = Vec::new();
        for chunk in asked.chunks(AT_ONCE) {
            let read = join_all(
                chunk
                    .iter()
                    .map(|(schedule, _)| self.world.schedule_expression(&schedule.name)),
            )
            .await;
            for ((schedule, ledger), expression) in chunk.iter().zip(read) {
                let expression = match expression {
                    Ok(expression) => expression,
                    Err(error) => return vec![Finding::unseen(check, &error)],
                };
                let Some(expression) = ScheduleExpression::parse(&expression) else {
                    continue;
                };
                let latest = ledger
                    .datapoints
                    .back()
                    .map_or(schedule.created, |datapoint| datapoint.scheduled_time);
                if !expression.due(latest, before(GRACE)).is_empty() {
                    late.push(format!("`{}` (since {})", schedule.name, second(latest)));
                }
            }
        }
        if !late.is_empty() {
            let seen = format!(
                "executions were due, and none is known, of {}: the sweep should have found them",
                some(&late)
            );
            findings.push(Finding::warning(check, seen).mend(self.logs("sweep")));
        }
        findings
    }

    /// The baselines of the policy's own analyses.
    pub(super) async fn baselines(&self, policy: &Policy) -> Vec<Finding> {
        let check = "baselines";
        let analyses = policy.analyses();
        if analyses.is_empty() {
            return Vec::new();
        }
        let mut findings = Vec::new();
        for chunk in analyses.chunks(AT_ONCE) {
            let listed = join_all(chunk.iter().map(|analysis| {
                let prefix = format!("{}/", analysis.baseline.key);
                async move { self.world.objects(&analysis.baseline.bucket, &prefix).await }
            }))
            .await;
            for (analysis, listed) in chunk.iter().zip(listed) {
                let uri = format!("s3://{}/{}", analysis.baseline.bucket, analysis.baseline.key);
                let files = match listed {
                    Ok(files) => files,
                    Err(error) => {
                        findings.push(Finding::unseen(check, &error));
                        continue;
                    }
                };
                if !files.iter().any(|file| file.key.ends_with("/constraints.json")) {
                    let seen = format!(
                        "[[analysis]] `{}` has no constraints.json in its baseline {uri}",
                        analysis.schedule.as_str()
                    );
                    findings.push(
                        Finding::broken(check, seen)
                            .mend(format!("driftwarden baseline --help, and write it to {}", quoted(&uri))),
                    );
                }
            }
        }
        if findings.is_empty() {
            let seen = format!("{} with its baseline", counted(analyses.len(), "analysis table"));
            findings.push(Finding::ok(check, seen));
        }
        findings
    }
}

/// `a is`, `a, b are`.
fn is_or_are(names: &[String]) -> String {
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", some(names))
}

fn it_or_them(names: &[String]) -> &'static str {
    if names.len() == 1 { "it" } else { "them" }
}

fn it_is(names: &[String]) -> &'static str {
    if names.len() == 1 { "it is" } else { "they are" }
}

/// How the first schedule of a status is described.
fn describe(schedules: &[Schedule], status: &str) -> String {
    let first = schedules.iter().find(|schedule| schedule.status == status);
    describe_named(first.map(|schedule| &schedule.name))
}

fn describe_named(name: Option<&String>) -> String {
    let name = name.map_or("NAME", |name| name.trim_matches('`'));
    format!(
        "aws sagemaker describe-monitoring-schedule --monitoring-schedule-name {}",
        quoted(name)
    )
}

/// What is wrong with a function.
fn wrong_with_function(stack: &StackFound, name: &str, function: &FunctionConfiguration) -> Option<Finding> {
    let check = "functions";
    let name_quoted = quoted(name);
    let why = |reason: &Option<String>| reason.as_deref().map_or(String::new(), |reason| format!(": {reason}"));
    // Before they were told of functions, all functions were Active.
    if !["Active", ""].contains(&function.state.as_str()) {
        let seen = format!("`{name}` is {}{}", function.state, why(&function.state_reason));
        let remedy = format!("aws lambda get-function-configuration --function-name {name_quoted}");
        let pending = function.state == "Pending" || function.state == "Inactive";
        let finding = if pending {
            Finding::warning(check, seen)
        } else {
            Finding::broken(check, seen)
        };
        return Some(finding.mend(remedy));
    }
    if !["Successful", ""].contains(&function.last_update_status.as_str()) {
        let status = &function.last_update_status;
        let seen = format!(
            "the last update of `{name}` is {status}{}",
            why(&function.last_update_status_reason)
        );
        let remedy = format!("aws lambda get-function-configuration --function-name {name_quoted}");
        let finding = if status == "InProgress" {
            Finding::warning(check, seen)
        } else {
            Finding::broken(check, seen)
        };
        return Some(finding.mend(remedy));
    }
    let mut environment = function.environment.clone();
    let mut wrong = Vec::new();
    for (variable, from) in VARIABLES {
        let expected = match from {
            Source::Output(key) => stack.stack.outputs.get(key),
            Source::Parameter(key) => stack.stack.parameters.get(key),
        };
        // Every function has the state bucket; of the others only those that are set are held against the stack.
        let set = environment.get(variable).cloned();
        let (Some(expected), true) = (expected, set.is_some() || variable == "STATE_BUCKET") else {
            continue;
        };
        if set.as_ref() != Some(expected) {
            let set = set.map_or("is not set".to_owned(), |set| format!("is `{set}`"));
            wrong.push(format!("{variable} {set}, and the stack says `{expected}`"));
            environment.insert(variable.to_owned(), expected.clone());
        }
    }
    if wrong.is_empty() {
        return None;
    }
    let environment = json!({"Variables": environment}).to_string();
    let seen = format!("the environment of `{name}` was changed: {}", wrong.join("; "));
    Some(Finding::broken(check, seen).mend(format!(
        "aws lambda update-function-configuration --function-name {name_quoted} --environment {}",
        quoted(&environment)
    )))
}

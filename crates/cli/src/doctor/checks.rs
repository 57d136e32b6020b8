//! The checks: one function per check.

use super::{
    CheckedDeployment, FoundStack,
    finding::{Finding, quoted},
};
use crate::{
    cloud::{Clients, named_ledgers},
    redrive,
};
use alerting::{DOCTOR_SCHEDULE, HealthStatus, MonitorLedger};
use futures_util::future::{join_all, try_join_all};
use jiff::{SignedDuration, Timestamp};
use machine::{AwsError, Fetched, Kind};
use model_monitor::ScheduleExpression;
use remediation::{Policy, StartKind};
use serde_json::json;
use shell::{
    LoadPolicyError, POLICY_KEY, PolicyStore,
    operator::{FunctionConfiguration, Rule, StackResource},
    ports::{MetricQuery, Schedule},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Files of a baseline: one of them exists, whichever analysis it belongs to.
const BASELINE_FILES: [&str; 2] = ["/constraints.json", "/analysis.json"];
/// Number of requests at the same time.
const CONCURRENT_REQUESTS: usize = 16;
/// Maximum number of names in a finding. The rest are counted.
const MAX_NAMES: usize = 5;
/// Time after which a due execution must be recorded: executions start up to 20 minutes late and take a while.
const MAX_DELAY: SignedDuration = SignedDuration::from_hours(3);
/// Age below which a schedule may not have had an execution yet.
const MIN_AGE: SignedDuration = SignedDuration::from_hours(25);
/// Visibility timeout of failed events, in case they are not made visible again.
const VISIBILITY_TIMEOUT: Duration = Duration::from_secs(30);

/// Environment variables of the functions, and the outputs and parameters of the stack with their values.
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

/// The credentials: account and region.
pub(super) async fn credentials(clients: &impl Clients) -> Finding {
    match clients.whoami().await {
        Ok(who) => Finding::ok("credentials", who),
        Err(error) => Finding::broken("credentials", error.message).with_remedy("aws configure"),
    }
}

/// The stack. `None` if it cannot be read.
pub(super) async fn stack(clients: &impl Clients, name: &str) -> (Finding, Option<FoundStack>) {
    let check = "stack";
    let stack = match clients.stack(name).await {
        Ok(Some(stack)) => stack,
        Ok(None) => {
            let seen = format!("stack `{name}` does not exist in this account and region");
            let remedy = "aws cloudformation describe-stacks --query 'Stacks[].StackName'";
            return (Finding::broken(check, seen).with_remedy(remedy), None);
        }
        Err(error) => return (Finding::unknown(check, &error), None),
    };
    let resources = match clients.stack_resources(name).await {
        Ok(resources) => resources,
        Err(error) => return (Finding::unknown(check, &error), None),
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
            format!("`{name}` is {status}, {}", text::count(resources.len(), "resource")),
        ),
        "UPDATE_ROLLBACK_COMPLETE" => {
            let seen = format!("`{name}` is {status}{why}: the last update failed, and the previous version is active");
            Finding::warning(check, seen).with_remedy(events)
        }
        status if status.ends_with("_IN_PROGRESS") => Finding::warning(
            check,
            format!("`{name}` is {status}: run the command again when the operation has finished"),
        ),
        status => {
            let failed = list_names(&failed);
            Finding::broken(
                check,
                format!("`{name}` is {status}{why}{}{failed}", separator(&failed)),
            )
            .with_remedy(events)
        }
    };
    let name = name.to_owned();
    (finding, Some(FoundStack { name, stack, resources }))
}

fn separator(text: &str) -> &'static str {
    if text.is_empty() { "" } else { ": " }
}

/// The first names, and the number of the rest.
fn list_names(names: &[String]) -> String {
    let first: Vec<&str> = names.iter().take(MAX_NAMES).map(String::as_str).collect();
    let text = first.join(", ");
    match names.len() {
        all if all > MAX_NAMES => format!("{text} and {} more", all - MAX_NAMES),
        _ => text,
    }
}

/// A rule of the stack, and its event bus.
struct FoundRule {
    logical_id: String,
    bus: String,
    name: String,
    rule: Option<Rule>,
}

impl<W: Clients> CheckedDeployment<W> {
    /// Command that shows how resources differ from the template.
    fn drift(&self) -> String {
        let name = self.stack.as_ref().map_or("NAME", |found| &found.name);
        format!("aws cloudformation detect-stack-drift --stack-name {}", quoted(name))
    }

    /// Command that shows the errors of a function.
    pub(super) fn logs(&self, function: &str) -> String {
        let stack = self.stack.as_ref().map_or("STACK", |found| &found.name);
        let group = format!("/aws/lambda/{stack}-{function}");
        format!("aws logs tail {} --since 1h --filter-pattern ERROR", quoted(&group))
    }

    /// The state bucket.
    pub(super) async fn state(&self) -> Vec<Finding> {
        let check = "state bucket";
        let Some(name) = &self.state_bucket else {
            return vec![Finding::skipped(
                check,
                "no state bucket configured: pass --state-bucket or --stack",
            )];
        };
        let settings = match self.clients.bucket(name).await {
            Ok(Some(settings)) => settings,
            Ok(None) => {
                let seen = format!("bucket `{name}` does not exist: all state documents are missing");
                return vec![Finding::broken(check, seen).with_remedy(self.drift())];
            }
            Err(error) => return vec![Finding::unknown(check, &error)],
        };
        let documents = match self.clients.keys("").await {
            Ok(keys) => text::count(keys.len(), "document"),
            Err(error) => return vec![Finding::unknown(check, &error)],
        };
        let mut findings = Vec::new();
        if !settings.versioned {
            let seen =
                format!("`{name}` has no versioning: earlier versions of documents, and the audit trail, are lost");
            findings.push(Finding::broken(check, seen).with_remedy(format!(
                "aws s3api put-bucket-versioning --bucket {} --versioning-configuration Status=Enabled",
                quoted(name)
            )));
        }
        let guarded = settings
            .policy
            .is_some_and(|policy| policy.contains("DenyUnconditionalWrites"));
        if !guarded {
            let seen = format!(
                "the bucket policy of `{name}` lacks DenyUnconditionalWrites: unconditional writes can overwrite state documents"
            );
            findings.push(Finding::warning(check, seen).with_remedy(self.drift()));
        }
        if findings.is_empty() {
            findings.push(Finding::ok(
                check,
                format!("`{name}`: {documents}, versioning is on, unconditional writes are denied"),
            ));
        }
        findings
    }

    /// The published policy, and the findings about it. The default policy if it cannot be read.
    pub(super) async fn policy(&self) -> (Vec<Finding>, Policy) {
        let check = "policy";
        if self.state_bucket.is_none() {
            return (Vec::new(), Policy::default());
        }
        let body = match self.clients.read(POLICY_KEY, None).await {
            Ok(Fetched::Found(body, _)) => body,
            Ok(Fetched::Absent | Fetched::Unchanged) => {
                return self.absent_policy(check).await;
            }
            Err(error) => return (vec![Finding::unknown(check, &error)], Policy::default()),
        };
        match Policy::parse(&body) {
            Ok(policy) => {
                let seen = format!("{POLICY_KEY} is valid: version {}", policy.version());
                (vec![Finding::ok(check, seen)], policy)
            }
            Err(error) => {
                let seen = format!(
                    "{POLICY_KEY} is invalid, and its last valid version stays effective if there is one: {}",
                    machine::chain(&error)
                );
                let bucket = self.state_bucket.as_deref().unwrap_or_default();
                let remedy = format!(
                    "aws s3 cp {} . && $EDITOR {POLICY_KEY} && driftwarden policy push {POLICY_KEY} --state-bucket {}",
                    quoted(&format!("s3://{bucket}/{POLICY_KEY}")),
                    quoted(bucket)
                );
                (
                    vec![Finding::broken(check, seen).with_remedy(remedy)],
                    Policy::default(),
                )
            }
        }
    }

    /// Finding about a bucket without `policy.toml`: there never was one, or it was deleted.
    async fn absent_policy(&self, check: &'static str) -> (Vec<Finding>, Policy) {
        match PolicyStore::default().load_with_state(self.clients.as_ref()).await {
            Ok((policy, false)) => {
                let seen = "no policy: none was ever published; with the default settings, only models with the risk rating low are retrained without approval";
                (vec![Finding::ok(check, seen)], (*policy).clone())
            }
            Ok((policy, true)) => {
                let seen = format!(
                    "{POLICY_KEY} was deleted; its last valid version {} stays effective",
                    policy.version()
                );
                let bucket = quoted(self.state_bucket.as_deref().unwrap_or_default());
                let remedy = format!("driftwarden policy push {POLICY_KEY} --state-bucket {bucket}");
                (
                    vec![Finding::broken(check, seen).with_remedy(remedy)],
                    (*policy).clone(),
                )
            }
            Err(LoadPolicyError::Aws(error)) => (vec![Finding::unknown(check, &error)], Policy::default()),
            Err(error) => (vec![Finding::broken(check, machine::chain(&error))], Policy::default()),
        }
    }

    /// The report bucket.
    pub(super) async fn report_bucket(&self) -> Finding {
        let check = "report bucket";
        let Some(name) = &self.report_bucket else {
            return Finding::skipped(check, "no report bucket configured: pass --report-bucket or --stack");
        };
        match self.clients.sends_events(name).await {
            Ok(true) => Finding::ok(check, format!("`{name}` sends events to EventBridge")),
            Ok(false) => {
                let seen = format!(
                    "`{name}` sends no events to EventBridge: reports are processed only when the sweep finds their executions"
                );
                // The command replaces the whole notification configuration, so it keeps the existing entries.
                let bucket = quoted(name);
                Finding::broken(check, seen).with_remedy(format!(
                    "aws s3api get-bucket-notification-configuration --bucket {bucket} --output json | jq -s '(.[0] // {{}}) + \
                     {{EventBridgeConfiguration: {{}}}}' > after.json && aws s3api put-bucket-notification-configuration \
                     --bucket {bucket} --notification-configuration file://after.json"
                ))
            }
            Err(error) if error.kind == Kind::NotFound => Finding::broken(
                check,
                format!("bucket `{name}` does not exist: correct ReportBucketName in the parameters of the stack"),
            ),
            Err(error) => Finding::unknown(check, &error),
        }
    }

    /// The rules of the stack, their targets, and their dead-letter queues.
    pub(super) async fn rules(&self) -> Vec<Finding> {
        let check = "rules";
        let Some(stack) = &self.stack else {
            return Vec::new();
        };
        let resources: Vec<&StackResource> = stack.resources_of_type("AWS::Events::Rule").collect();
        let mut found = Vec::new();
        for chunk in resources.chunks(CONCURRENT_REQUESTS) {
            match try_join_all(chunk.iter().map(|resource| self.rule(resource))).await {
                Ok(rules) => found.extend(rules),
                Err(error) => return vec![Finding::unknown(check, &error)],
            }
        }
        let queue = stack.output("DeadLetterQueueArn");
        let findings: Vec<Finding> = found.iter().filter_map(|rule| self.check_rule(rule, queue)).collect();
        if !findings.is_empty() {
            return findings;
        }
        let all = text::count(found.len(), "rule");
        vec![Finding::ok(
            check,
            format!("{all}, all enabled with target and dead-letter queue"),
        )]
    }

    /// Finds a rule. The ID of a rule on Driftwarden's event bus is `bus|rule`. Without a bus in the ID, both buses are tried.
    async fn rule(&self, resource: &StackResource) -> Result<FoundRule, AwsError> {
        let physical = resource.physical_id.rsplit('/').next().unwrap_or_default();
        let event_bus = self.event_bus.as_deref();
        let (buses, name) = match physical.split_once('|') {
            Some((bus, name)) => (vec![bus], name),
            None => (["default"].into_iter().chain(event_bus).collect(), physical),
        };
        let mut found = FoundRule {
            logical_id: resource.logical_id.clone(),
            bus: buses.first().copied().unwrap_or_default().to_owned(),
            name: name.to_owned(),
            rule: None,
        };
        for bus in buses {
            found.rule = self.clients.rule(bus, name).await?;
            if found.rule.is_some() {
                bus.clone_into(&mut found.bus);
                break;
            }
        }
        Ok(found)
    }

    fn check_rule(&self, found: &FoundRule, queue: Option<&String>) -> Option<Finding> {
        let FoundRule {
            logical_id,
            bus,
            name,
            rule,
        } = found;
        let broken = |seen: &str| Finding::broken("rules", format!("{logical_id} (`{name}`, bus `{bus}`) {seen}"));
        let Some(rule) = rule else {
            return Some(broken("does not exist: its events are not delivered").with_remedy(self.drift()));
        };
        if !rule.enabled {
            return Some(broken("is disabled: its events are not delivered").with_remedy(format!(
                "aws events enable-rule --name {} --event-bus-name {}",
                quoted(name),
                quoted(bus)
            )));
        }
        if rule.targets.is_empty() {
            return Some(broken("has no target: its events are not delivered").with_remedy(self.drift()));
        }
        let lost = |target: &str| {
            broken(&format!(
                "has no dead-letter queue for {target}: undelivered events are lost"
            ))
            .with_remedy(self.drift())
        };
        let mut targets = rule.targets.iter();
        let loose = targets.find(|target| {
            target.dead_letter_queue.is_none()
                || queue.is_some_and(|queue| target.dead_letter_queue.as_ref() != Some(queue))
        });
        loose.map(|target| lost(&target.arn))
    }

    /// The functions of the stack: their state, and their environment variables.
    pub(super) async fn functions(&self) -> Vec<Finding> {
        let check = "functions";
        let Some(stack) = &self.stack else {
            return Vec::new();
        };
        let names: Vec<&str> = self.function_names().collect();
        let read = join_all(names.iter().map(|name| self.clients.function(name))).await;
        let mut findings = Vec::new();
        for (name, function) in names.iter().zip(read) {
            match function {
                Ok(Some(function)) => findings.extend(check_function(stack, name, &function)),
                Ok(None) => {
                    let seen = format!("`{name}` does not exist");
                    findings.push(Finding::broken(check, seen).with_remedy(self.drift()));
                }
                Err(error) => findings.push(Finding::unknown(check, &error)),
            }
        }
        if findings.is_empty() {
            let all = text::count(names.len(), "function");
            findings.push(Finding::ok(
                check,
                format!("{all}, all active with the environment variables of the stack"),
            ));
        }
        findings
    }

    fn function_names(&self) -> impl Iterator<Item = &str> {
        let resources = self
            .stack
            .iter()
            .flat_map(|stack| stack.resources_of_type("AWS::Lambda::Function"));
        resources.map(|resource| resource.physical_id.rsplit(':').next().unwrap_or_default())
    }

    /// Errors of the functions in the last 24 hours.
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
        let now = self.clients.now();
        let from = now.saturating_sub(SignedDuration::from_hours(24)).unwrap_or(now);
        let values = self
            .clients
            .metric_data(&queries, from, now, Duration::from_hours(1))
            .await;
        let values = match values {
            Ok(values) => values,
            Err(error) => return vec![Finding::unknown(check, &error)],
        };
        let mut findings = Vec::new();
        for (name, values) in names.iter().zip(values) {
            let errors: f64 = values.iter().map(|(_, value)| value).sum();
            if errors > 0.0 {
                let seen = format!("`{name}`: {errors} errors in the last 24 hours, including retries");
                let group = format!("/aws/lambda/{name}");
                findings.push(Finding::warning(check, seen).with_remedy(format!(
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

    /// The retraining pipelines of the stack and the policy, and their parameters.
    pub(super) async fn pipelines(&self, policy: &Policy) -> Vec<Finding> {
        let check = "pipelines";
        let own = self
            .stack
            .as_ref()
            .and_then(|stack| stack.parameter("RetrainingPipelineName"));
        let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        // The first name stands for all models that the policy does not name.
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
            match self.clients.pipeline_parameters(pipeline).await {
                Ok(Some(declared)) => {
                    let undeclared = parameters.iter().filter(|name| !declared.contains(name));
                    let undeclared: Vec<String> = undeclared.map(|name| format!("`{name}`")).collect();
                    if undeclared.is_empty() {
                        continue;
                    }
                    let seen = format!(
                        "pipeline `{pipeline}` does not declare {}: SageMaker rejects executions with undeclared parameters",
                        list_names(&undeclared)
                    );
                    findings.push(Finding::broken(check, seen).with_remedy(
                        "declare them in the pipeline definition, or set `parameters` in [retraining] of policy.toml to the \
                         declared ones",
                    ));
                }
                Ok(None) => {
                    let seen = format!("pipeline `{pipeline}` does not exist: retraining cannot start");
                    let remedy = "aws sagemaker list-pipelines --query 'PipelineSummaries[].PipelineName'";
                    findings.push(Finding::broken(check, seen).with_remedy(remedy));
                }
                Err(error) => findings.push(Finding::unknown(check, &error)),
            }
        }
        if findings.is_empty() && !wanted.is_empty() {
            let names: Vec<String> = wanted.keys().map(|name| format!("`{name}`")).collect();
            let seen = format!("{}: declared parameters match the policy", list_names(&names));
            findings.push(Finding::ok(check, seen));
        }
        findings
    }

    /// The subscribers of the topic.
    pub(super) async fn topic(&self) -> Finding {
        let check = "topic";
        let Some(topic) = self.stack.as_ref().and_then(|stack| stack.output("TopicArn")) else {
            return Finding::skipped(check, "the topic is not known: pass --stack");
        };
        let subscribe = format!(
            "aws sns subscribe --topic-arn {} --protocol email --notification-endpoint YOU@EXAMPLE.COM",
            quoted(topic)
        );
        match self.clients.subscriptions(topic).await {
            Ok(subscriptions) => {
                let (confirmed, pending): (Vec<_>, Vec<_>) =
                    subscriptions.iter().partition(|subscription| subscription.confirmed);
                let pending: Vec<String> = pending
                    .iter()
                    .map(|subscription| format!("{} ({})", subscription.endpoint, subscription.protocol))
                    .collect();
                match (confirmed.len(), pending.len()) {
                    (0, 0) => Finding::warning(check, "the topic has no subscribers: no one receives notifications")
                        .with_remedy(subscribe),
                    (0, _) => Finding::warning(
                        check,
                        format!(
                            "the topic has no confirmed subscribers: {} must confirm the subscription",
                            list_names(&pending)
                        ),
                    )
                    .with_remedy("open the message from AWS Notifications and confirm the subscription"),
                    (confirmed, 0) => Finding::ok(check, text::count(confirmed, "confirmed subscription")),
                    (confirmed, _) => Finding::warning(
                        check,
                        format!(
                            "{}; {} must still confirm",
                            text::count(confirmed, "confirmed subscription"),
                            list_names(&pending)
                        ),
                    )
                    .with_remedy("open the message from AWS Notifications and confirm the subscription"),
                }
            }
            Err(error) => Finding::unknown(check, &error),
        }
    }

    /// Failed events in the dead-letter queue.
    pub(super) async fn dead_letters(&self) -> Finding {
        let check = "dead letters";
        let Some(queue) = &self.queue_url else {
            return Finding::skipped(check, "no dead-letter queue configured: pass --queue-url or --stack");
        };
        let waiting = match self.clients.message_count(queue).await {
            Ok(0) => return Finding::ok(check, "the dead-letter queue is empty"),
            Ok(waiting) => waiting,
            Err(error) => return Finding::unknown(check, &error),
        };
        let mut seen = match waiting {
            1 => "1 failed event in the dead-letter queue".to_owned(),
            _ => format!("{waiting} failed events in the dead-letter queue"),
        };
        match self.clients.receive(queue, VISIBILITY_TIMEOUT).await {
            Ok(letters) => {
                let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
                for letter in &letters {
                    *kinds.entry(redrive::error_type(letter)).or_default() += 1;
                }
                let restored = join_all(letters.iter().map(|letter| self.clients.restore(queue, letter))).await;
                if let Some(error) = restored.iter().find_map(|restored| restored.as_ref().err()) {
                    return Finding::unknown(check, error);
                }
                let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
                let kinds = kinds.join(", ");
                seen = format!("{seen}{}{kinds}", separator(&kinds));
            }
            Err(error) => return Finding::unknown(check, &error),
        }
        let queue = quoted(queue);
        Finding::broken(check, seen).with_remedy(format!(
            "list them with driftwarden redrive --queue-url {queue} --dry-run, fix the cause, then run driftwarden redrive --queue-url {queue}"
        ))
    }

    /// The alarms of the stack.
    pub(super) async fn alarms(&self) -> Vec<Finding> {
        let check = "alarms";
        let Some(stack) = &self.stack else {
            return Vec::new();
        };
        let names: Vec<String> = stack
            .resources_of_type("AWS::CloudWatch::Alarm")
            .map(|resource| resource.physical_id.clone())
            .collect();
        if names.is_empty() {
            return Vec::new();
        }
        let alarms = match self.clients.alarms(&names).await {
            Ok(alarms) => alarms,
            Err(error) => return vec![Finding::unknown(check, &error)],
        };
        let mut findings: Vec<Finding> = alarms
            .iter()
            .filter(|alarm| alarm.state == "ALARM")
            .map(|alarm| {
                let name = quoted(&alarm.name);
                Finding::warning(check, format!("`{}` is in ALARM: {}", alarm.name, alarm.reason)).with_remedy(format!(
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
            let seen = format!(
                "{} {} not exist",
                list_names(&gone),
                if gone.len() == 1 { "does" } else { "do" }
            );
            findings.push(Finding::warning(check, seen).with_remedy(self.drift()));
        }
        if findings.is_empty() {
            findings.push(Finding::ok(
                check,
                format!("{}, none in ALARM", text::count(alarms.len(), "alarm")),
            ));
        }
        findings
    }

    /// The monitoring schedules of SageMaker, compared with the ledgers.
    pub(super) async fn schedules(&self) -> Vec<Finding> {
        let check = "schedules";
        if self.state_bucket.is_none() {
            return Vec::new();
        }
        let schedules = match self.clients.schedules().await {
            Ok(schedules) => schedules,
            Err(error) => return vec![Finding::unknown(check, &error)],
        };
        let ledgers = match named_ledgers(self.clients.as_ref()).await {
            Ok(ledgers) => ledgers,
            Err(error) => return vec![Finding::unknown(check, &error)],
        };
        let mut findings = Vec::new();
        let mut known: BTreeMap<String, MonitorLedger> = BTreeMap::new();
        for (name, ledger) in ledgers {
            match ledger {
                Ok(ledger) => drop(known.insert(name, ledger)),
                Err(error) => findings.push(Finding::broken(check, error.to_string()).with_remedy(
                    "restore an earlier version of the document: aws s3api list-object-versions --bucket … --prefix …",
                )),
            }
        }
        known.remove(DOCTOR_SCHEDULE);
        let names_with = |status: &str| {
            let matching = schedules.iter().filter(|schedule| schedule.status == status);
            matching
                .map(|schedule| format!("`{}`", schedule.name))
                .collect::<Vec<_>>()
        };
        let (failed, stopped) = (names_with("Failed"), names_with("Stopped"));
        if !failed.is_empty() {
            let seen = format!(
                "{} Failed: SageMaker starts no executions of {}",
                is_or_are(&failed),
                it_or_them(&failed)
            );
            findings.push(Finding::broken(check, seen).with_remedy(describe(&schedules, "Failed")));
        }
        if !stopped.is_empty() {
            let seen = format!(
                "{} Stopped: drift is not detected until you start {} again",
                is_or_are(&stopped),
                it_or_them(&stopped)
            );
            let name = schedules
                .iter()
                .find(|schedule| schedule.status == "Stopped")
                .map_or("", |s| &s.name);
            findings.push(Finding::warning(check, seen).with_remedy(format!(
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
            findings.push(Finding::warning(check, seen).with_remedy(format!(
                "aws sagemaker list-monitoring-executions --monitoring-schedule-name {} --max-results 3",
                quoted(first)
            )));
        }
        findings.extend(self.overdue_schedules(&schedules, &known).await);
        if findings.is_empty() {
            let (schedules, ledgers) = (
                text::count(schedules.len(), "schedule"),
                text::count(known.len(), "ledger"),
            );
            findings.push(Finding::ok(
                check,
                format!("{schedules} in SageMaker, {ledgers}, all healthy"),
            ));
        }
        findings
    }

    /// Schedules without any recorded execution, and schedules whose latest recorded execution is overdue.
    async fn overdue_schedules(&self, schedules: &[Schedule], known: &BTreeMap<String, MonitorLedger>) -> Vec<Finding> {
        let check = "schedules";
        let now = self.clients.now();
        let before = |duration| now.saturating_sub(duration).unwrap_or(Timestamp::MIN);
        let (mut unrecorded, mut recorded) = (Vec::new(), Vec::new());
        for schedule in schedules.iter().filter(|schedule| schedule.status == "Scheduled") {
            match known.get(&schedule.name.to_ascii_lowercase()) {
                Some(ledger) => recorded.push((schedule, ledger)),
                None if schedule.created < before(MIN_AGE) => unrecorded.push(format!("`{}`", schedule.name)),
                None => {}
            }
        }
        let mut findings = Vec::new();
        if !unrecorded.is_empty() {
            let seen = format!(
                "no execution of {} was ever recorded: check that its S3OutputUri matches ReportBucketName and \
                 ReportPrefix",
                list_names(&unrecorded)
            );
            findings.push(Finding::warning(check, seen).with_remedy(describe_named(unrecorded.first())));
        }
        let mut late = Vec::new();
        for chunk in recorded.chunks(CONCURRENT_REQUESTS) {
            let read = join_all(
                chunk
                    .iter()
                    .map(|(schedule, _)| self.clients.schedule_expression(&schedule.name)),
            )
            .await;
            for ((schedule, ledger), expression) in chunk.iter().zip(read) {
                let expression = match expression {
                    Ok(expression) => expression,
                    Err(error) => return vec![Finding::unknown(check, &error)],
                };
                let Some(expression) = ScheduleExpression::parse(&expression) else {
                    continue;
                };
                let latest = ledger
                    .datapoints
                    .back()
                    .map_or(schedule.created, |datapoint| datapoint.scheduled_time);
                if !expression.due(latest, before(MAX_DELAY)).is_empty() {
                    late.push(format!("`{}` (since {})", schedule.name, text::time(latest)));
                }
            }
        }
        if !late.is_empty() {
            let seen = format!(
                "missing executions of {}: they are due, but not recorded, and the sweep has not found them",
                list_names(&late)
            );
            findings.push(Finding::warning(check, seen).with_remedy(self.logs("sweep")));
        }
        findings
    }

    /// The baselines of the `[[analysis]]` tables of the policy.
    pub(super) async fn baselines(&self, policy: &Policy) -> Vec<Finding> {
        let check = "baselines";
        let analyses = policy.analyses();
        if analyses.is_empty() {
            return Vec::new();
        }
        let mut findings = Vec::new();
        for chunk in analyses.chunks(CONCURRENT_REQUESTS) {
            let listed = join_all(chunk.iter().map(|analysis| {
                let prefix = format!("{}/", analysis.baseline.key);
                async move { self.clients.objects(&analysis.baseline.bucket, &prefix).await }
            }))
            .await;
            for (analysis, listed) in chunk.iter().zip(listed) {
                let uri = format!("s3://{}/{}", analysis.baseline.bucket, analysis.baseline.key);
                let files = match listed {
                    Ok(files) => files,
                    Err(error) => {
                        findings.push(Finding::unknown(check, &error));
                        continue;
                    }
                };
                if !files
                    .iter()
                    .any(|file| BASELINE_FILES.iter().any(|name| file.key.ends_with(name)))
                {
                    let seen = format!(
                        "[[analysis]] `{}`: no constraints.json or analysis.json in its baseline {uri}",
                        analysis.schedule.as_str()
                    );
                    findings.push(Finding::broken(check, seen).with_remedy(format!(
                        "create it: driftwarden baseline DATASET --output {}",
                        quoted(&uri)
                    )));
                }
            }
        }
        if findings.is_empty() {
            let seen = format!(
                "{}, all with a baseline",
                text::count(analyses.len(), "[[analysis]] table")
            );
            findings.push(Finding::ok(check, seen));
        }
        findings
    }
}

/// `a is`, `a, b are`.
fn is_or_are(names: &[String]) -> String {
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", list_names(names))
}

fn it_or_them(names: &[String]) -> &'static str {
    if names.len() == 1 { "it" } else { "them" }
}

/// Command that describes the first schedule with a status.
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

/// Checks the state and the environment variables of a function.
fn check_function(stack: &FoundStack, name: &str, function: &FunctionConfiguration) -> Option<Finding> {
    let check = "functions";
    let name_quoted = quoted(name);
    let why = |reason: &Option<String>| reason.as_deref().map_or(String::new(), |reason| format!(": {reason}"));
    // Functions without a state are active.
    if !["Active", ""].contains(&function.state.as_str()) {
        let seen = format!("`{name}` is {}{}", function.state, why(&function.state_reason));
        let remedy = format!("aws lambda get-function-configuration --function-name {name_quoted}");
        let pending = function.state == "Pending" || function.state == "Inactive";
        let finding = if pending {
            Finding::warning(check, seen)
        } else {
            Finding::broken(check, seen)
        };
        return Some(finding.with_remedy(remedy));
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
        return Some(finding.with_remedy(remedy));
    }
    let mut environment = function.environment.clone();
    let mut wrong = Vec::new();
    for (variable, from) in VARIABLES {
        let expected = match from {
            Source::Output(key) => stack.stack.outputs.get(key),
            Source::Parameter(key) => stack.stack.parameters.get(key),
        };
        // Every function needs the state bucket; other variables are compared with the stack only if they are set.
        let set = environment.get(variable).cloned();
        let (Some(expected), true) = (expected, set.is_some() || variable == "STATE_BUCKET") else {
            continue;
        };
        if set.as_ref() != Some(expected) {
            let set = set.map_or("is not set".to_owned(), |set| format!("is `{set}`"));
            wrong.push(format!("{variable} {set}, but `{expected}` in the stack"));
            environment.insert(variable.to_owned(), expected.clone());
        }
    }
    if wrong.is_empty() {
        return None;
    }
    let environment = json!({"Variables": environment}).to_string();
    let seen = format!(
        "the environment variables of `{name}` were changed: {}",
        wrong.join("; ")
    );
    Some(Finding::broken(check, seen).with_remedy(format!(
        "aws lambda update-function-configuration --function-name {name_quoted} --environment {}",
        quoted(&environment)
    )))
}

//! `driftwarden redrive`: redelivers failed events from the dead-letter queue to their functions.

use crate::{
    Exit, Streams,
    cloud::{AwsTargets, Environment, QueueUrl, StackName, json_line, warn},
    error::{Failure, Message},
    state::{State, Tone},
    table::{Cell, Table, plain},
    terminal::{progress, progress_ended},
};
use futures_util::future::join_all;
use jiff::Timestamp;
use machine::Kind;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shell::operator::{DeadLetter, DeadLetters, Functions};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::Duration,
};

/// Visibility timeout of received messages. If the command stops, its messages are visible again after it.
const VISIBILITY_TIMEOUT: Duration = Duration::from_mins(5);
/// Number of messages that are made visible again at the same time.
const CONCURRENT_RESTORES: usize = 16;
/// Number of messages between two progress texts.
const PROGRESS_INTERVAL: usize = 10;

/// Redeliver failed events from the dead-letter queue.
///
/// Receives the messages of the dead-letter queue: events that a function failed to process (sent by Lambda), and events that
/// a rule could not deliver (sent by EventBridge). Invokes the function of each event asynchronously, and deletes the message
/// after the function has accepted the event. If the command stops in between, the next run delivers the event again, which is
/// harmless: functions recognize events that they have processed. An event that fails again returns to the queue. Other
/// messages stay in the queue; the output lists and counts them, and the exit code is 1.
///
/// Fix the cause first. `--dry-run` lists the messages and leaves them in the queue. Requires `sqs:ReceiveMessage`,
/// `sqs:DeleteMessage`, and `sqs:ChangeMessageVisibility` for the queue, and `lambda:InvokeFunction` for the functions.
#[derive(Debug, clap::Args)]
pub struct Redrive {
    #[command(flatten)]
    queue_url: QueueUrl,
    #[command(flatten)]
    stack: StackName,
    /// Maximum number of events to redeliver.
    #[arg(long, value_name = "N")]
    max: Option<usize>,
    /// Only events whose error type or message contains this text.
    #[arg(long, value_name = "REASON_SUBSTRING")]
    only: Option<String>,
    /// List the messages and leave them in the queue.
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object.
    #[arg(long, display_order = 110)]
    json: bool,
}

/// Lambda's record of a failed invocation (*AWS Lambda Developer Guide*, `invocation-async-retain-records`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FailedInvocation {
    request_context: RequestContext,
    request_payload: Box<RawValue>,
    #[serde(default)]
    response_payload: Option<ResponsePayload>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    function_arn: String,
    #[serde(default)]
    condition: String,
}

/// Response of a function that failed.
#[derive(Deserialize)]
#[serde(untagged)]
enum ResponsePayload {
    Error {
        #[serde(rename = "errorType")]
        kind: Option<String>,
        #[serde(rename = "errorMessage")]
        message: Option<String>,
    },
    Other(serde::de::IgnoredAny),
}

/// A failed event.
struct Failed {
    function_arn: String,
    payload: String,
    error_type: String,
    message: String,
}

/// Content of a message.
enum Content {
    Failed(Failed),
    /// It cannot be redelivered; `why` is the reason.
    Foreign {
        target: String,
        error_type: String,
        message: String,
        why: String,
    },
}

/// Number of messages by outcome.
#[derive(Default)]
struct Counts {
    handed: usize,
    left: usize,
    others: usize,
}

/// Result of one message.
#[derive(Serialize)]
struct Redriven {
    message_id: String,
    time: Option<Timestamp>,
    function: String,
    outcome: Outcome,
    error_type: String,
    error_message: String,
}

/// What happened to a message. The wire names are a contract of `--json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum Outcome {
    #[serde(rename = "handed over")]
    Redelivered,
    #[serde(rename = "would be handed over")]
    WouldRedeliver,
    /// Redelivered, but not deleted from the queue.
    #[serde(rename = "handed over, and left")]
    RedeliveredAndKept,
    #[serde(rename = "left")]
    Kept,
}

impl From<Outcome> for State {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Redelivered => Self::new("redelivered", Some(Tone::Good)),
            Outcome::WouldRedeliver => Self::new("would be redelivered", None),
            Outcome::RedeliveredAndKept => Self::new("redelivered, but still in the queue", Some(Tone::Bad)),
            Outcome::Kept => Self::new("still in the queue", Some(Tone::Bad)),
        }
    }
}

/// JSON output.
#[derive(Serialize)]
struct Json<'a> {
    dry_run: bool,
    handed_over: usize,
    left: usize,
    not_looked_at: usize,
    messages: &'a [Redriven],
}

/// State of the command while it runs.
struct Run {
    messages: Vec<Redriven>,
    counts: Counts,
    /// The messages that stay in the queue, by ID, as last received.
    kept: BTreeMap<String, DeadLetter>,
    /// IDs of deleted messages.
    deleted: BTreeSet<String>,
}

impl Redrive {
    /// Runs the command.
    pub(crate) async fn run(&self, env: &impl Environment, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let queue_url = self.queue_url.required(&self.stack, env).await?;
        let clients = env.connect(AwsTargets::default()).await?;
        let mut run = Run {
            messages: Vec::new(),
            counts: Counts::default(),
            kept: BTreeMap::new(),
            deleted: BTreeSet::new(),
        };
        let ended = self.drain(clients.as_ref(), &queue_url, &mut run, streams).await;
        progress_ended();
        // In any case, messages that stay become visible again, and the results are shown.
        let kept: Vec<&DeadLetter> = run.kept.values().collect();
        for some in kept.chunks(CONCURRENT_RESTORES) {
            let restored = join_all(some.iter().map(|letter| clients.restore(&queue_url, letter))).await;
            for error in restored.iter().filter_map(|restored| restored.as_ref().err()) {
                warn(streams.err, &Message::from(error).to_string().replace('\n', "; "))?;
            }
        }
        let Counts { handed, left, others } = run.counts;
        if self.json {
            let json = Json {
                dry_run: self.dry_run,
                handed_over: handed,
                left,
                not_looked_at: others,
                messages: &run.messages,
            };
            json_line(streams.out, &json)?;
            ended?;
            return Ok(if left == 0 { Exit::Done } else { Exit::Failed });
        }
        let mut table = Table::new(["time", "function", "result", "error type", "message"]);
        for message in &run.messages {
            table.row([
                Cell::from(message.time.map_or_else(|| "-".to_owned(), text::time)),
                message.function.as_str().into(),
                State::from(message.outcome).into(),
                message.error_type.as_str().into(),
                message.error_message.as_str().into(),
            ]);
        }
        table.write(streams.out)?;
        let redelivered = State::from(if self.dry_run {
            Outcome::WouldRedeliver
        } else {
            Outcome::Redelivered
        });
        let mut more = String::new();
        if others > 0 {
            more = format!(", {others} skipped by --only");
        }
        if self.max.is_some_and(|max| handed >= max) {
            more.push_str("; stopped at the limit of --max");
        }
        writeln!(
            streams.out,
            "{} {}, {left} still in the queue{more}",
            text::count(handed, "event"),
            redelivered.name
        )?;
        ended?;
        Ok(if left == 0 { Exit::Done } else { Exit::Failed })
    }

    /// Processes each message once, until no new one arrives.
    async fn drain<W: DeadLetters + Functions>(
        &self,
        clients: &W,
        queue_url: &str,
        run: &mut Run,
        streams: &mut Streams<'_>,
    ) -> Result<(), Failure> {
        let mut processed = 0;
        loop {
            let received = clients.receive(queue_url, VISIBILITY_TIMEOUT).await?;
            let mut new = Vec::new();
            for letter in received {
                if run.deleted.contains(&letter.id) {
                    // SQS occasionally delivers a deleted message again.
                    clients.delete(queue_url, &letter).await?;
                } else if run.kept.insert(letter.id.clone(), letter.clone()).is_none() {
                    new.push(letter);
                }
            }
            if new.is_empty() {
                return Ok(());
            }
            for letter in new {
                if self.max.is_some_and(|max| run.counts.handed >= max) {
                    return Ok(());
                }
                self.take(clients, queue_url, &letter, run, streams).await?;
                processed += 1;
                if processed % PROGRESS_INTERVAL == 0 {
                    progress(&format!("{} processed", text::count(processed, "message")));
                }
            }
        }
    }

    async fn take<W: DeadLetters + Functions>(
        &self,
        clients: &W,
        queue_url: &str,
        letter: &DeadLetter,
        run: &mut Run,
        streams: &mut Streams<'_>,
    ) -> Result<(), Failure> {
        let content = content(letter);
        let (target, error_type, message) = match &content {
            Content::Failed(failed) => (&failed.function_arn, &failed.error_type, &failed.message),
            Content::Foreign {
                target,
                error_type,
                message,
                ..
            } => (target, error_type, message),
        };
        let only = self.only.as_deref().unwrap_or_default();
        if !error_type.contains(only) && !message.contains(only) {
            run.counts.others += 1;
            return Ok(());
        }
        let redriven = |outcome: Outcome| Redriven {
            message_id: letter.id.clone(),
            time: letter.sent,
            function: name(target).to_owned(),
            outcome,
            error_type: error_type.clone(),
            error_message: message.clone(),
        };
        match &content {
            Content::Foreign { why, .. } => {
                run.messages.push(redriven(Outcome::Kept));
                run.keep(letter, why.clone().into(), streams)?;
            }
            Content::Failed(_) if self.dry_run => {
                run.messages.push(redriven(Outcome::WouldRedeliver));
                run.counts.handed += 1;
            }
            Content::Failed(failed) => {
                match clients.invoke_async(&failed.function_arn, failed.payload.clone()).await {
                    Ok(()) => {}
                    // The SDK has already retried: other messages would fail as well.
                    Err(error) => {
                        run.messages.push(redriven(Outcome::Kept));
                        run.keep(letter, Message::from(&error), streams)?;
                        return match error.kind {
                            Kind::Transient => Err(Failure::failed(
                                "stopped because AWS does not respond",
                                "try again later",
                            )),
                            _ => Ok(()),
                        };
                    }
                }
                run.counts.handed += 1;
                match clients.delete(queue_url, letter).await {
                    Ok(()) => {
                        run.messages.push(redriven(Outcome::Redelivered));
                        run.kept.remove(&letter.id);
                        run.deleted.insert(letter.id.clone());
                    }
                    Err(error) => {
                        run.messages.push(redriven(Outcome::RedeliveredAndKept));
                        run.keep(letter, Message::from(&error), streams)?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Run {
    /// Reports that a message stays in the queue, and why.
    fn keep(&mut self, letter: &DeadLetter, error: Message, streams: &mut Streams<'_>) -> io::Result<()> {
        self.counts.left += 1;
        let place = format!("message {} stays in the queue", plain(&letter.id));
        error.within(&place).print(streams.err)
    }
}

/// Parses a message.
fn content(letter: &DeadLetter) -> Content {
    let attribute = |name: &str| letter.attributes.get(name).cloned().unwrap_or_default();
    if let Some(target) = letter.attributes.get("TARGET_ARN") {
        let (error_type, message) = (attribute("ERROR_CODE"), attribute("ERROR_MESSAGE"));
        return failed(target.clone(), letter.body.clone(), error_type, message);
    }
    let Ok(invocation) = serde_json::from_str::<FailedInvocation>(&letter.body) else {
        return Content::Foreign {
            target: "-".to_owned(),
            error_type: String::new(),
            message: String::new(),
            why: "it was sent neither by Lambda nor by EventBridge".to_owned(),
        };
    };
    let condition = invocation.request_context.condition;
    let (error_type, message) = match invocation.response_payload {
        Some(ResponsePayload::Error { kind, message }) => (kind.unwrap_or(condition), message.unwrap_or_default()),
        // The function did not respond: the event was too old, or the function timed out.
        Some(ResponsePayload::Other(_)) | None => (condition, String::new()),
    };
    let payload = invocation.request_payload.get().to_owned();
    failed(invocation.request_context.function_arn, payload, error_type, message)
}

/// Error type of a message.
pub(crate) fn error_type(letter: &DeadLetter) -> String {
    let (Content::Failed(Failed { error_type, .. }) | Content::Foreign { error_type, .. }) = content(letter);
    if error_type.is_empty() {
        "of an unknown type".to_owned()
    } else {
        error_type
    }
}

fn failed(target: String, payload: String, error_type: String, message: String) -> Content {
    let is_function = target.starts_with("arn:") && target.split(':').nth(2) == Some("lambda");
    if is_function {
        Content::Failed(Failed {
            function_arn: target,
            payload,
            error_type,
            message,
        })
    } else {
        Content::Foreign {
            why: format!("its target is not a function: {target}"),
            target,
            error_type,
            message,
        }
    }
}

/// The name in the ARN of a function, without the version; for other ARNs, the last part.
fn name(arn: &str) -> &str {
    let mut parts = arn.split(':').skip(5);
    match (parts.next(), parts.next()) {
        (Some("function"), Some(name)) => name,
        _ => arn.rsplit([':', '/']).next().unwrap_or(arn),
    }
}

//! `driftwarden redrive`: events that failed, handed to their functions again.

use crate::{
    Exit, Streams,
    cloud::{Failure, Places, QueueUrl, StackName, Surroundings, counted, json_line, said, second, warn},
    table::{Table, plain},
    terminal::{progress, progress_ended},
};
use futures_util::future::join_all;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shell::{
    Kind,
    operator::{DeadLetter, DeadLetters, Functions},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::Duration,
};

/// For how long others do not see a message that is looked at: if the command dies, its messages are back after this.
const HIDDEN: Duration = Duration::from_mins(5);
/// So many messages are restored at the same time.
const RESTORED_AT_ONCE: usize = 16;
/// After so many messages it is said on a terminal how far it is.
const PROGRESS: usize = 10;

/// Hand failed events to their functions again.
///
/// Takes the messages of the dead-letter queue: events that a function failed at, which Lambda has put there, and events
/// that a rule could not deliver, which EventBridge has put there. Each is handed to its function again (asynchronously),
/// and deleted from the queue after the function has accepted it. If the command dies in between, the event is handed over
/// once more by the next run; that is harmless, as the functions know what they have handled. An event that fails again
/// comes back to the queue. Messages that are neither are left in the queue, named and counted (exit code 1).
///
/// Mend the cause first: `--dry-run` lists the messages and leaves them. Needs `sqs:ReceiveMessage`, `sqs:DeleteMessage`
/// and `sqs:ChangeMessageVisibility` on the queue, and `lambda:InvokeFunction` on the functions.
#[derive(Debug, clap::Args)]
pub struct Redrive {
    #[command(flatten)]
    queue_url: QueueUrl,
    #[command(flatten)]
    stack: StackName,
    /// Hand over no more than so many.
    #[arg(long, value_name = "N")]
    max: Option<usize>,
    /// Only those whose error type or message has this in it.
    #[arg(long, value_name = "REASON_SUBSTRING")]
    only: Option<String>,
    /// List the messages, and leave them in the queue.
    #[arg(long)]
    dry_run: bool,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
}

/// What Lambda sends to the destination of failures (Lambda's developer guide, `invocation-async-retain-records`).
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

/// What a function answered that failed.
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

/// An event that failed.
struct Failed {
    function_arn: String,
    payload: String,
    error_type: String,
    message: String,
}

/// What a message is.
enum Content {
    Failed(Failed),
    /// Nothing that can be handed over: an error, and why.
    Foreign {
        target: String,
        error_type: String,
        message: String,
        why: String,
    },
}

/// What became of the messages.
#[derive(Default)]
struct Counts {
    handed: usize,
    left: usize,
    others: usize,
}

/// What became of a message.
#[derive(Serialize)]
struct Redriven {
    message_id: String,
    time: Option<Timestamp>,
    function: String,
    outcome: &'static str,
    error_type: String,
    error_message: String,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Json<'a> {
    dry_run: bool,
    handed_over: usize,
    left: usize,
    not_looked_at: usize,
    messages: &'a [Redriven],
}

/// What goes on in a run.
struct Run {
    messages: Vec<Redriven>,
    counts: Counts,
    /// The messages that stay, by id, as they were last received.
    kept: BTreeMap<String, DeadLetter>,
    /// The ids of those that were deleted.
    gone: BTreeSet<String>,
}

impl Redrive {
    /// Runs the command.
    pub(crate) async fn run(&self, around: &impl Surroundings, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let queue_url = self.queue_url.required(&self.stack, around).await?;
        let world = around.connect(Places::default()).await?;
        let mut run = Run {
            messages: Vec::new(),
            counts: Counts::default(),
            kept: BTreeMap::new(),
            gone: BTreeSet::new(),
        };
        let ended = self.drain(world.as_ref(), &queue_url, &mut run, streams).await;
        progress_ended();
        // Whatever happened: what stays can be seen again at once, and what was done is shown.
        let kept: Vec<&DeadLetter> = run.kept.values().collect();
        for some in kept.chunks(RESTORED_AT_ONCE) {
            let restored = join_all(some.iter().map(|letter| world.restore(&queue_url, letter))).await;
            for error in restored.iter().filter_map(|restored| restored.as_ref().err()) {
                warn(streams.err, &said(error))?;
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
        let mut table = Table::new(["when", "function", "what became of it", "error type", "message"]);
        for message in &run.messages {
            table.row([
                message.time.map_or_else(|| "-".to_owned(), second),
                message.function.clone(),
                message.outcome.to_owned(),
                message.error_type.clone(),
                message.error_message.clone(),
            ]);
        }
        table.write(streams.out)?;
        let what = if self.dry_run {
            "would be handed over"
        } else {
            "handed over"
        };
        let mut more = String::new();
        if others > 0 {
            more = format!(", {others} of other reasons not looked at");
        }
        if self.max.is_some_and(|max| handed >= max) {
            more.push_str("; stopped there as --max says");
        }
        writeln!(
            streams.out,
            "{} {what}, {left} could not be{more}",
            counted(handed, "event")
        )?;
        ended?;
        Ok(if left == 0 { Exit::Done } else { Exit::Failed })
    }

    /// Takes one message after the other, each once, until none new comes.
    async fn drain<W: DeadLetters + Functions>(
        &self,
        world: &W,
        queue_url: &str,
        run: &mut Run,
        streams: &mut Streams<'_>,
    ) -> Result<(), Failure> {
        let mut looked_at = 0;
        loop {
            let received = world.receive(queue_url, HIDDEN).await?;
            let mut new = Vec::new();
            for letter in received {
                if run.gone.contains(&letter.id) {
                    // SQS hands out a message again, now and then, although it was deleted.
                    world.delete(queue_url, &letter).await?;
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
                self.take(world, queue_url, &letter, run, streams).await?;
                looked_at += 1;
                if looked_at % PROGRESS == 0 {
                    progress(&format!("{} so far", counted(looked_at, "message")));
                }
            }
        }
    }

    async fn take<W: DeadLetters + Functions>(
        &self,
        world: &W,
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
        let redriven = |outcome: &'static str| Redriven {
            message_id: letter.id.clone(),
            time: letter.sent,
            function: name(target).to_owned(),
            outcome,
            error_type: error_type.clone(),
            error_message: message.clone(),
        };
        match &content {
            Content::Foreign { why, .. } => {
                run.messages.push(redriven("left"));
                run.leave(letter, why, streams)?;
            }
            Content::Failed(_) if self.dry_run => {
                run.messages.push(redriven("would be handed over"));
                run.counts.handed += 1;
            }
            Content::Failed(failed) => {
                match world.invoke_async(&failed.function_arn, failed.payload.clone()).await {
                    Ok(()) => {}
                    // The SDK has tried again already: the next ones would not fare better.
                    Err(error) => {
                        run.messages.push(redriven("left"));
                        run.leave(letter, &said(&error), streams)?;
                        return match error.kind {
                            Kind::Transient => {
                                Err(Failure::Said("stopped: AWS does not answer, try again later".into()))
                            }
                            _ => Ok(()),
                        };
                    }
                }
                run.counts.handed += 1;
                match world.delete(queue_url, letter).await {
                    Ok(()) => {
                        run.messages.push(redriven("handed over"));
                        run.kept.remove(&letter.id);
                        run.gone.insert(letter.id.clone());
                    }
                    Err(error) => {
                        run.messages.push(redriven("handed over, and left"));
                        run.leave(letter, &said(&error), streams)?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Run {
    /// Says that a message stays in the queue, and why.
    fn leave(&mut self, letter: &DeadLetter, why: &str, streams: &mut Streams<'_>) -> io::Result<()> {
        self.counts.left += 1;
        writeln!(
            streams.err,
            "error: message {} is left in the queue: {}",
            plain(&letter.id),
            plain(why)
        )
    }
}

/// Reads a message.
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
            why: "neither what Lambda nor what EventBridge puts there".to_owned(),
        };
    };
    let condition = invocation.request_context.condition;
    let (error_type, message) = match invocation.response_payload {
        Some(ResponsePayload::Error { kind, message }) => (kind.unwrap_or(condition), message.unwrap_or_default()),
        // The function never answered: the event was too old, or the function timed out.
        Some(ResponsePayload::Other(_)) | None => (condition, String::new()),
    };
    let payload = invocation.request_payload.get().to_owned();
    failed(invocation.request_context.function_arn, payload, error_type, message)
}

/// What kind of error a message is of.
pub(crate) fn error_type(letter: &DeadLetter) -> String {
    let (Content::Failed(Failed { error_type, .. }) | Content::Foreign { error_type, .. }) = content(letter);
    if error_type.is_empty() {
        "of an unknown kind".to_owned()
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
            why: format!("its target is no function ({target})"),
            target,
            error_type,
            message,
        }
    }
}

/// The name in the ARN of a function, without its version; of anything else, the last part.
fn name(arn: &str) -> &str {
    let mut parts = arn.split(':').skip(5);
    match (parts.next(), parts.next()) {
        (Some("function"), Some(name)) => name,
        _ => arn.rsplit([':', '/']).next().unwrap_or(arn),
    }
}

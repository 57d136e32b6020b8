//! `driftwarden pause` and `driftwarden resume`: the kill switch, of a model or of all.

use crate::{
    Exit, Streams,
    cloud::{Failure, Places, StateBucket, Surroundings, World, document, json_line, second},
    people::{Said, Speaker, Told},
    table::plain,
};
use jiff::Timestamp;
use remediation::{PAUSE_KEY, Pause as Word, REMEDIATION_PAUSE, RemediationPause, duration};
use serde_json::json;
use shell::{
    AwsError, Kind,
    ports::{Clock as _, Documents, Fetched, Precondition},
};

/// Hold the retrainings of a model, or of all.
///
/// From then on no retraining is started: what would be is held, with the reason `Paused` that says by whom, until when and
/// why. Alerts and incidents go on, and so does what has been started: a run that is under way is not stopped, nor is the test
/// of a candidate (`driftwarden experiment stop` ends one). When the pause is over, the next sweep decides anew.
///
/// Of one model, `Remediation Pause` is put on the bus, and kept in the model's document. Of all models, it is written into
/// the state bucket, beside the policy: it holds when the command returns, also for models that are not known yet, and no
/// function has to work for that. Saying the same again is harmless: the latest word counts.
#[derive(Debug, clap::Args)]
pub struct Pause {
    #[command(flatten)]
    of: Of,
    /// Until when: 24h, 7d, or a time, 2026-12-01T08:00:00Z; without, until `driftwarden resume`.
    #[arg(long, value_name = "WHEN", value_parser = parse_until)]
    until: Option<Until>,
}

/// Let the retrainings of a model, or of all, go on.
///
/// What was held is decided anew: of one model at once, of all with the next sweep. A model that was paused by itself stays
/// paused when all go on, and the other way round; `paused` of the policy is another switch, which only the policy turns off.
#[derive(Debug, clap::Args)]
pub struct Resume {
    #[command(flatten)]
    of: Of,
}

/// What both have.
#[derive(Debug, clap::Args)]
struct Of {
    /// The model; without, all of them.
    #[arg(value_name = "MODEL")]
    model: Option<String>,
    #[command(flatten)]
    state_bucket: StateBucket,
    #[command(flatten)]
    said: Said,
}

/// The end of a pause.
#[derive(Debug, Clone, Copy)]
enum Until {
    /// So long from now on.
    For(jiff::SignedDuration),
    /// At that time.
    At(Timestamp),
}

fn parse_until(text: &str) -> Result<Until, String> {
    let at = || text.parse().ok().map(Until::At);
    let until = duration(text).map(Until::For).or_else(at);
    until.ok_or_else(|| "expected a duration or a time: 24h, 7d, 2026-12-01T08:00:00Z".to_owned())
}

impl Pause {
    /// Runs the command.
    pub(crate) async fn run(&self, around: &impl Surroundings, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        if self
            .of
            .said
            .reason
            .as_ref()
            .is_none_or(|reason| reason.trim().is_empty())
        {
            let said = "why? Say it with --reason: it is told wherever a retraining is held";
            return Err(Failure::Usage(said.to_owned()));
        }
        self.of.put(true, self.until, around, streams).await
    }
}

impl Resume {
    /// Runs the command.
    pub(crate) async fn run(&self, around: &impl Surroundings, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        self.of.put(false, None, around, streams).await
    }
}

impl Of {
    async fn put(
        &self,
        paused: bool,
        until: Option<Until>,
        around: &impl Surroundings,
        streams: &mut Streams<'_>,
    ) -> Result<Exit, Failure> {
        let speaker = match &self.model {
            Some(_) => self.said.speaker(&self.state_bucket.stack, around).await?,
            None => Speaker {
                by: self.said.by(around)?,
                event_bus: None,
            },
        };
        let state_bucket = match &self.model {
            Some(_) => None,
            None => Some(self.state_bucket.required(around).await?),
        };
        let places = Places {
            state_bucket: state_bucket.clone(),
            event_bus: speaker.event_bus.clone(),
        };
        let world = around.connect(places).await?;
        let now = world.now();
        let until = match until {
            None => None,
            Some(Until::For(duration)) => Some(now.saturating_add(duration).unwrap_or(Timestamp::MAX)),
            Some(Until::At(at)) if at <= now => {
                let said = format!("--until {} is over already: it is {} now", second(at), second(now));
                return Err(Failure::Usage(said));
            }
            Some(Until::At(at)) => Some(at),
        };
        let pause = Word {
            paused,
            by: speaker.by.clone(),
            time: now,
            until,
            reason: self.said.reason.clone(),
        };
        let Some(model) = &self.model else {
            let bucket = state_bucket.unwrap_or_default();
            return self.write(world.as_ref(), &bucket, &pause, streams).await;
        };
        let event = RemediationPause {
            model: model.clone(),
            paused: pause.paused,
            by: pause.by,
            time: pause.time,
            until: pause.until,
            reason: pause.reason,
        };
        let told = Told {
            done: if paused { "paused" } else { "resumed" },
            about: model,
            speaker: &speaker,
        };
        self.said
            .put(world.as_ref(), streams, REMEDIATION_PAUSE, &event, told)
            .await
    }

    /// Writes what holds for all models.
    async fn write(
        &self,
        world: &impl World,
        bucket: &str,
        pause: &Word,
        streams: &mut Streams<'_>,
    ) -> Result<Exit, Failure> {
        let place = format!("s3://{bucket}/{PAUSE_KEY}");
        let precondition = match world.read(PAUSE_KEY, None).await? {
            Fetched::Absent | Fetched::Unchanged => Precondition::Absent,
            Fetched::Found(_, etag) => Precondition::Unchanged(etag),
        };
        let body = serde_json::to_vec(pause).map_err(|error| error.to_string())?;
        if !self.said.dry_run {
            match world.write(PAUSE_KEY, body, &precondition).await {
                Ok(_) => {}
                Err(AwsError {
                    kind: Kind::Conflict, ..
                }) => {
                    return Err(Failure::Said(format!(
                        "{place} has been changed by somebody else meanwhile: nothing is written; say it again, if it still \
                         holds"
                    )));
                }
                Err(error) => return Err(error.into()),
            }
        }
        if self.said.json {
            let line = json!({"place": place, "document": pause, "written": !self.said.dry_run});
            json_line(streams.out, &line)?;
            return Ok(Exit::Done);
        }
        let until = match pause.until {
            Some(until) => format!("until {}", second(until)),
            None => "until somebody resumes them".to_owned(),
        };
        let said = if pause.paused {
            format!(
                "all models are paused by {}, {until}: no retraining is started",
                plain(&pause.by)
            )
        } else {
            format!(
                "all models go on, by {}: the next sweep decides what was held",
                plain(&pause.by)
            )
        };
        let written = if self.said.dry_run {
            "dry run: nothing is written"
        } else {
            "written"
        };
        writeln!(streams.out, "{said}\n{written}: {place}")?;
        Ok(Exit::Done)
    }
}

/// What was last said about pausing all models, if that holds at a time.
pub(crate) async fn all_paused(world: &impl Documents, now: Timestamp) -> Result<Option<Word>, Failure> {
    let pause: Option<Word> = document(world, PAUSE_KEY).await?;
    Ok(pause.filter(|pause| pause.holds(now)))
}

/// A pause in words: `paused by ada until … (why)`.
pub(crate) fn in_words(pause: &Word) -> String {
    let until = pause
        .until
        .map_or_else(String::new, |until| format!(" until {}", second(until)));
    let why = pause
        .reason
        .as_ref()
        .map_or_else(String::new, |why| format!(" ({why})"));
    format!("paused by {} at {}{until}{why}", pause.by, second(pause.time))
}

//! `driftwarden experiment stop|promote|rollback|resume`: what people order, put on the bus.

use crate::{
    Exit, Streams,
    cloud::{Failure, Places, StateBucket, Surroundings, experiments, experiments_of, json_line, second},
    people::{Said, Told},
    table::plain,
};
use promotion::{
    Conclusion, EXPERIMENT_COMMAND, Ended, Experiment, ExperimentCommand, ExperimentDocument, ExperimentStage, Mode,
    Order,
};
use serde_json::json;
use shell::ports::{Clock as _, Documents};

/// What all orders have.
#[derive(Debug, clap::Args)]
pub(super) struct OrderArgs {
    /// The experiment, as events and `driftwarden experiment status` name it: churn-ab-3.
    #[arg(value_name = "EXPERIMENT_ID")]
    experiment_id: String,
    #[command(flatten)]
    state_bucket: StateBucket,
    #[command(flatten)]
    said: Said,
}

/// What an order comes to.
enum Answer {
    /// It is put on the bus; then this happens.
    Put(String),
    /// There is nothing to do, and why.
    Nothing(String),
}

impl OrderArgs {
    /// Runs the command.
    pub(super) async fn run(
        &self,
        order: Order,
        around: &impl Surroundings,
        streams: &mut Streams<'_>,
    ) -> Result<Exit, Failure> {
        let id = &self.experiment_id;
        let model = model_of(id).ok_or_else(|| {
            Failure::Usage(format!(
                "`{id}` is no experiment's id, which is the model's name, `-ab-` and a number: churn-ab-3"
            ))
        })?;
        let speaker = self.said.speaker(&self.state_bucket.stack, around).await?;
        let places = Places {
            state_bucket: Some(self.state_bucket.required(around).await?),
            event_bus: speaker.event_bus.clone(),
        };
        let world = around.connect(places).await?;
        let Some(document) = experiments_of(world.as_ref(), model).await? else {
            return Err(nothing_of(world.as_ref(), model).await?);
        };
        let answer = if let Some(open) = document.experiment.as_ref().filter(|open| open.id == *id) {
            if !self.said.json {
                writeln!(
                    streams.out,
                    "{}: {} since {}\n  {}",
                    plain(id),
                    open.stage.as_str(),
                    second(open.since),
                    plain(&open.sentence)
                )?;
            }
            of_open(order, open).map_err(|why| format!("experiment `{id}` is {}: {why}", open.stage.as_str()))?
        } else if let Some(ended) = document.ended.iter().find(|ended| ended.experiment.id == *id) {
            of_ended(order, ended, &document)?
        } else {
            return Err(Failure::Said(format!(
                "experiment `{id}` is not known; model `{model}` has {}",
                known(&document)
            )));
        };
        match answer {
            Answer::Nothing(why) if self.said.json => {
                json_line(streams.out, &json!({"event": null, "put": false, "why": why}))?;
                Ok(Exit::Done)
            }
            Answer::Nothing(why) => {
                writeln!(streams.out, "nothing to do: {}", plain(&why))?;
                Ok(Exit::Done)
            }
            Answer::Put(then) => {
                if !self.said.json {
                    writeln!(streams.out, "then: {}", plain(&then))?;
                }
                let command = ExperimentCommand {
                    model: model.to_owned(),
                    experiment_id: id.clone(),
                    order,
                    by: speaker.by.clone(),
                    time: world.now(),
                    reason: self.said.reason.clone(),
                };
                let told = Told {
                    done: "ordered",
                    about: id,
                    speaker: &speaker,
                };
                self.said
                    .put(world.as_ref(), streams, EXPERIMENT_COMMAND, &command, told)
                    .await
            }
        }
    }
}

/// The model of an experiment's id.
pub(super) fn model_of(experiment_id: &str) -> Option<&str> {
    let (model, number) = experiment_id.rsplit_once("-ab-")?;
    (!model.is_empty() && number.parse::<u64>().is_ok()).then_some(model)
}

/// The ids of a model's experiments, for an error.
pub(super) fn known(document: &ExperimentDocument) -> String {
    let ended = document.ended.iter().map(|ended| &ended.experiment.id);
    let ids: Vec<String> = ended
        .chain(document.experiment.iter().map(|open| &open.id))
        .map(|id| format!("`{id}`"))
        .collect();
    if ids.is_empty() {
        "none".to_owned()
    } else {
        ids.join(", ")
    }
}

/// That a model has no experiments; who has.
pub(super) async fn nothing_of(world: &impl Documents, model: &str) -> Result<Failure, Failure> {
    let all = experiments(world).await?;
    let ids: Vec<String> = all
        .iter()
        .filter_map(|(_, document)| document.as_ref().ok())
        .map(known)
        .filter(|known| known != "none")
        .collect();
    let others = if ids.is_empty() {
        ", and no other model has".to_owned()
    } else {
        format!("; there are {}", ids.join(", "))
    };
    Ok(Failure::Said(format!("model `{model}` has had no experiment{others}")))
}

/// What an order comes to while the experiment is open; why it cannot be, and what can be done instead.
fn of_open(order: Order, open: &Experiment) -> Result<Answer, String> {
    use ExperimentStage::{
        AwaitingApproval, Baking, Ended, Paused, Preparing, Promoting, Retiring, RollingBack, Testing,
    };
    let base = open.base.as_ref().map_or("", |base| base.config.as_str());
    let nothing = |why: &str| Ok(Answer::Nothing(why.to_owned()));
    match (order, open.stage) {
        (Order::Stop | Order::Rollback, AwaitingApproval) => Ok(Answer::Put(
            "the experiment ends; its candidate was never on the endpoint".to_owned(),
        )),
        (Order::Stop | Order::Rollback, Preparing | Testing | Paused | Promoting | Baking) => {
            let traffic = match open.mode {
                Mode::Variants if open.share.is_some() => "the champion gets all the traffic within seconds, and ",
                _ => "",
            };
            let back = if base.is_empty() {
                format!("endpoint `{}` stays as it is", open.endpoint)
            } else {
                format!("endpoint `{}` gets back its configuration `{base}`", open.endpoint)
            };
            Ok(Answer::Put(format!(
                "{traffic}{back}; what was made for the candidate is removed"
            )))
        }
        (Order::Stop | Order::Rollback, Retiring) => Err(format!(
            "the old champion is being removed, and does not stand by any more. Once the experiment is over, give the endpoint \
             its old configuration: aws sagemaker update-endpoint --endpoint-name {} --endpoint-config-name {base}",
            open.endpoint
        )),
        (Order::Stop | Order::Rollback, RollingBack) => nothing("the champion is being brought back already"),
        (Order::Promote, Testing | Paused) => Ok(Answer::Put(if open.mode == Mode::Variants {
            "the candidate gets all the traffic, and the old champion stands by for as long as the policy's `bake` says"
                .to_owned()
        } else {
            "the candidate takes the champion's place".to_owned()
        })),
        (Order::Promote, Promoting | Baking | Retiring) => nothing("the candidate is promoted already"),
        (Order::Promote, Preparing) if open.mode == Mode::BlueGreen => {
            nothing("SageMaker is shifting the traffic, and promotes the candidate by itself unless an alarm goes off")
        }
        (Order::Promote, Preparing) => Err(
            "the candidate is being put beside the champion; order it again once the experiment is Testing".to_owned(),
        ),
        (Order::Promote, AwaitingApproval) => Err(format!(
            "its model package has to be approved first: aws sagemaker update-model-package --model-package-arn {} \
             --model-approval-status Approved",
            open.package.arn
        )),
        (Order::Promote, RollingBack) => Err(format!("the champion is being brought back. {}", another_try(open))),
        (Order::Resume, Paused) => Ok(Answer::Put(format!(
            "the comparison goes on at step {}, counted anew",
            open.step + 1
        ))),
        (Order::Resume, Testing) => nothing("the comparison goes on, nothing is paused"),
        (Order::Resume, _) => nothing("it is not paused"),
        // An open one is never in this stage.
        (_, Ended) => nothing("it is over"),
    }
}

/// A package is tested once.
fn another_try(experiment: &Experiment) -> String {
    format!(
        "A model package is tested once: register the model as a new version of the group, and it is a candidate again. Or deploy \
         {} to endpoint `{}` yourself",
        experiment.package.arn, experiment.endpoint
    )
}

/// What an order comes to when the experiment is over.
fn of_ended(order: Order, ended: &Ended, document: &ExperimentDocument) -> Result<Answer, String> {
    let Ended {
        experiment,
        conclusion,
        ended_at,
    } = ended;
    let over = format!(
        "experiment `{}` is over since {}: {}",
        experiment.id,
        second(*ended_at),
        conclusion.as_str()
    );
    let promoted = *conclusion == Conclusion::Promoted;
    match order {
        Order::Promote if !promoted => Err(format!("{over}. {}", another_try(experiment))),
        Order::Stop | Order::Rollback if promoted => {
            let base = experiment.base.as_ref().map_or("", |base| base.config.as_str());
            let open = document.experiment.as_ref();
            let first = open.map_or_else(String::new, |open| format!("stop `{}` first, then ", open.id));
            Err(format!(
                "{over}, and the old champion does not stand by any more. To bring it back, {first}give the endpoint its old \
                 configuration: aws sagemaker update-endpoint --endpoint-name {} --endpoint-config-name {base}",
                experiment.endpoint
            ))
        }
        _ => Ok(Answer::Nothing(over)),
    }
}

//! `driftwarden experiment stop|promote|rollback|resume`: commands of operators on experiments. They are sent, signed, to the
//! function `operator`, which passes them to `promote`.

use crate::{
    Exit, Streams,
    cloud::{Environment, OperatorUrl, StateBucket, experiments, json_line, model_experiments},
    error::{Failure, Message},
    operator::{CommandArgs, Effect},
    table::plain,
};
use machine::{Clock as _, Documents};
use promotion::{Conclusion, Ended, Experiment, ExperimentDocument, ExperimentStage, Mode, Order};
use remediation::{OperatorAction, experiment_model};
use serde_json::json;

/// Arguments of all commands on an experiment.
#[derive(Debug, clap::Args)]
pub(super) struct OrderArgs {
    /// Experiment ID as shown by `driftwarden experiment status`: MODEL-ab-NUMBER, for example churn-ab-3.
    #[arg(value_name = "EXPERIMENT_ID")]
    experiment_id: String,
    #[command(flatten)]
    state_bucket: StateBucket,
    #[command(flatten)]
    command: CommandArgs,
    #[command(flatten)]
    url: OperatorUrl,
}

/// Result of checking a command.
enum Answer {
    /// The command is sent. The text says what happens next.
    Send(String),
    /// Nothing has to be done. The text says why.
    Nothing(String),
}

impl OrderArgs {
    /// Runs the command.
    pub(super) async fn run(
        &self,
        order: Order,
        env: &impl Environment,
        streams: &mut Streams<'_>,
    ) -> Result<Exit, Failure> {
        let id = &self.experiment_id;
        let model = experiment_model(id).ok_or_else(|| {
            Failure::usage(
                format!("`{id}` is not an experiment ID"),
                "an experiment ID is MODEL-ab-NUMBER, for example churn-ab-3; `driftwarden experiment status` lists them",
            )
        })?;
        let url = self
            .url
            .find(self.command.dry_run, &self.state_bucket.stack, env)
            .await?;
        let clients = self.state_bucket.connect(env).await?;
        let Some(document) = model_experiments(clients.as_ref(), model).await? else {
            return Err(no_experiments(clients.as_ref(), model).await?);
        };
        let answer = if let Some(open) = document.experiment.as_ref().filter(|open| open.id == *id) {
            if !self.command.json {
                writeln!(
                    streams.out,
                    "{}: {} since {}\n  {}",
                    plain(id),
                    open.stage.as_str(),
                    text::time(open.since),
                    plain(&open.sentence)
                )?;
            }
            answer_open(order, open)
                .map_err(|error| error.within(&format!("experiment `{id}` is in stage {}", open.stage.as_str())))?
        } else if let Some(ended) = document.ended.iter().find(|ended| ended.experiment.id == *id) {
            answer_ended(order, ended, &document)?
        } else {
            return Err(unknown_experiment(id, model, &document));
        };
        match answer {
            Answer::Nothing(why) if self.command.json => {
                json_line(streams.out, &json!({"command": null, "answer": null, "why": why}))?;
                Ok(Exit::Done)
            }
            Answer::Nothing(why) => {
                writeln!(streams.out, "nothing to do: {}", plain(&why))?;
                Ok(Exit::Done)
            }
            Answer::Send(then) => {
                if !self.command.json {
                    writeln!(streams.out, "next: {}", plain(&then))?;
                }
                let action = match order {
                    Order::Stop => OperatorAction::Stop,
                    Order::Promote => OperatorAction::Promote,
                    Order::Rollback => OperatorAction::Rollback,
                    Order::Resume => OperatorAction::Resume,
                };
                let mut command = self.command.command(action, clients.now(), env);
                command.experiment_id = Some(id.clone());
                let since = document.experiment.as_ref().map(|open| open.since);
                let effect = async || {
                    let document = model_experiments(clients.as_ref(), model).await?;
                    let mut experiments = document.iter().flat_map(|document| {
                        let ended = document.ended.iter().map(|ended| &ended.experiment);
                        document.experiment.iter().chain(ended)
                    });
                    let changed =
                        experiments.find(|experiment| experiment.id == *id && Some(experiment.since) != since);
                    Ok(changed.map(|experiment| Effect {
                        text: format!(
                            "{}: {}\n  {}",
                            plain(id),
                            experiment.stage.as_str(),
                            plain(&experiment.sentence)
                        ),
                        json: json!({"stage": experiment.stage, "sentence": experiment.sentence}),
                    }))
                };
                self.command
                    .send_and_wait(clients.as_ref(), url.as_deref(), &command, streams, effect)
                    .await
            }
        }
    }
}

/// The error for an ID that the model's document does not have.
pub(super) fn unknown_experiment(id: &str, model: &str, document: &ExperimentDocument) -> Failure {
    Failure::failed(
        format!("experiment `{id}` does not exist"),
        format!("experiments of model `{model}`: {}", experiment_ids(document)),
    )
}

/// The IDs of a model's experiments.
fn experiment_ids(document: &ExperimentDocument) -> String {
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

/// The error for a model without experiments. The hint lists the experiments of other models.
pub(super) async fn no_experiments(clients: &impl Documents, model: &str) -> Result<Failure, Failure> {
    let all = experiments(clients).await?;
    let ids: Vec<String> = all
        .iter()
        .filter_map(|(_, document)| document.as_ref().ok())
        .map(experiment_ids)
        .filter(|ids| ids != "none")
        .collect();
    let hint = if ids.is_empty() {
        "no model has had an experiment yet".to_owned()
    } else {
        format!("existing experiments: {}", ids.join(", "))
    };
    Ok(Failure::failed(format!("model `{model}` has had no experiment"), hint))
}

/// Checks a command on an open experiment. An error has a hint with the alternative.
fn answer_open(order: Order, open: &Experiment) -> Result<Answer, Message> {
    use ExperimentStage::{
        AwaitingApproval, Baking, Ended, Paused, Preparing, Promoting, Retiring, RollingBack, Testing,
    };
    let base = open.base.as_ref().map_or("", |base| base.config.as_str());
    let nothing = |why: &str| Ok(Answer::Nothing(why.to_owned()));
    match (order, open.stage) {
        (Order::Stop | Order::Rollback, AwaitingApproval) => Ok(Answer::Send(
            "the experiment ends; its candidate was never on the endpoint".to_owned(),
        )),
        (Order::Stop | Order::Rollback, Preparing | Testing | Paused | Promoting | Baking) => {
            let traffic = match open.mode {
                Mode::Variants if open.share.is_some() => "the champion gets all traffic within seconds, and ",
                _ => "",
            };
            let back = if base.is_empty() {
                format!("endpoint `{}` is not changed", open.endpoint)
            } else {
                format!(
                    "endpoint `{}` gets its endpoint configuration `{base}` back",
                    open.endpoint
                )
            };
            Ok(Answer::Send(format!(
                "{traffic}{back}; the resources of the candidate are deleted"
            )))
        }
        (Order::Stop | Order::Rollback, Retiring) => Err(Message::new(
            "the previous champion is being removed",
            format!(
                "when the experiment has ended, restore the previous endpoint configuration: {}",
                restore_command(&open.endpoint, base)
            ),
        )),
        (Order::Stop | Order::Rollback, RollingBack) => nothing("the champion is already being restored"),
        (Order::Promote, Testing | Paused) => Ok(Answer::Send(if open.mode == Mode::Variants {
            "the candidate gets all traffic, and the previous champion stays ready for the bake period of the policy"
                .to_owned()
        } else {
            "the candidate replaces the champion".to_owned()
        })),
        (Order::Promote, Promoting | Baking | Retiring) => nothing("the candidate is already promoted"),
        (Order::Promote, Preparing) if open.mode == Mode::BlueGreen => {
            nothing("SageMaker is shifting the traffic, and promotes the candidate automatically unless an alarm fires")
        }
        (Order::Promote, Preparing) => Err(Message::new(
            "the candidate is being deployed next to the champion",
            "run the command again when the experiment is in stage Testing",
        )),
        (Order::Promote, AwaitingApproval) => Err(Message::new(
            "its model package is not approved",
            format!(
                "aws sagemaker update-model-package --model-package-arn {} --model-approval-status Approved",
                open.package.arn
            ),
        )),
        (Order::Promote, RollingBack) => Err(Message::new("the champion is being restored", another_try(open))),
        (Order::Resume, Paused) => Ok(Answer::Send(format!(
            "the comparison resumes at step {} and starts to count from scratch",
            open.step + 1
        ))),
        (Order::Resume, Testing) => nothing("the comparison is in progress, not paused"),
        (Order::Resume, _) => nothing("the experiment is not paused"),
        // An open experiment is never in this stage.
        (_, Ended) => nothing("the experiment has ended"),
    }
}

/// The command that restores an endpoint configuration.
fn restore_command(endpoint: &str, config: &str) -> String {
    format!("aws sagemaker update-endpoint --endpoint-name {endpoint} --endpoint-config-name {config}")
}

/// How to use a model package again: each one is tested once.
fn another_try(experiment: &Experiment) -> String {
    format!(
        "each model package is tested once: register the model as a new version of its group to test it again, or deploy {} to \
         endpoint `{}` manually",
        experiment.package.arn, experiment.endpoint
    )
}

/// Checks a command on an experiment that has ended.
fn answer_ended(order: Order, ended: &Ended, document: &ExperimentDocument) -> Result<Answer, Message> {
    let Ended {
        experiment,
        conclusion,
        ended_at,
    } = ended;
    let what = format!(
        "experiment `{}` ended at {}: {}",
        experiment.id,
        text::time(*ended_at),
        conclusion.as_str()
    );
    let promoted = *conclusion == Conclusion::Promoted;
    match order {
        Order::Promote if !promoted => Err(Message::new(what, another_try(experiment))),
        Order::Stop | Order::Rollback if promoted => {
            let base = experiment.base.as_ref().map_or("", |base| base.config.as_str());
            let open = document.experiment.as_ref();
            let first = open.map_or_else(String::new, |open| format!("stop `{}` first, then ", open.id));
            Err(Message::new(
                format!("{what}; the previous champion is no longer ready"),
                format!(
                    "to restore it, {first}restore its endpoint configuration: {}",
                    restore_command(&experiment.endpoint, base)
                ),
            ))
        }
        _ => Ok(Answer::Nothing(what)),
    }
}

//! One history, derived from its seed: scheduled events, the interleaving of invocations, and their crashes.

mod invariants;
mod stages;
mod troubles;
mod truth;

use crate::{
    candidates::{self, Candidates, MODEL, OperatorAction},
    world::{BUCKET, Monitor, after, check, check_executions, event, midnight},
};
use alerting::DatapointState;
use fastrand::Rng;
use functions::ingest::{Config, Ingest};
use functions::operator::{AcceptedCommands, Operator};
use functions::promote::Promote;
use functions::remediate::Remediate;
use functions::sweep::Sweep;
use jiff::Timestamp;
use remediation::{ExecutionStatus, PipelineStart, Policy, Settings};
use serde_json::{Value, json};
use shell::{
    config::Vars,
    memory::{Memory, PlantedBug},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};
use troubles::{Trouble, Troubles};
use truth::Truth;

/// Timeout of `ingest` and `remediate` in seconds.
const TIMEOUT: i64 = 60;
/// Timeout of `promote` in seconds. It reads more data.
const PROMOTE_TIMEOUT: i64 = 300;
/// Timeout of `sweep` in seconds.
const SWEEP_TIMEOUT: i64 = 600;
/// Number of times that Lambda attempts an asynchronous invocation.
const MAX_ATTEMPTS: u8 = 3;
/// Call with which `promote` starts to read the evidence.
const EVIDENCE_CALL: &str = "cloudwatch:GetMetricData";
/// Number of additional hours that verify a promoted model: the longest evaluation period in a simulated policy.
const VERIFICATION_HOURS: usize = 3;
/// One of this number of histories tests candidates. It takes several times as long as the others.
const PROMOTION_INTERVAL: u64 = 10;
/// One of this number of histories has lasting troubles, unless it tests candidates.
const TROUBLE_INTERVAL: u64 = 4;
/// Number of steps after which a history is considered endless.
const MAX_STEPS: u64 = 200_000;

/// Counts over one or more histories.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Number of histories.
    pub histories: u64,
    /// Number of steps of handlers, each from one AWS operation to the next.
    pub steps: u64,
    /// Number of invocations.
    pub invocations: u64,
    /// Number of invocations that crashed between two operations, or timed out.
    pub crashes: u64,
    /// Number of invocations that returned an error.
    pub errors: u64,
    /// Number of lost events.
    pub lost: u64,
    /// Number of events that were delivered more than once.
    pub duplicates: u64,
    /// Number of pipeline executions that were started for an incident.
    pub executions: u64,
    /// Number of tested candidates.
    pub experiments: u64,
    /// Number of promoted candidates.
    pub promoted: u64,
    /// Counts of histories with lasting troubles.
    pub troubles: TroubleCounts,
    /// The transitions of stages that were taken: bit n is row n of [`remediation::TRANSITIONS`].
    pub transitions: u64,
}

pub use troubles::TroubleCounts;

impl Statistics {
    /// Adds the counts of other histories.
    pub fn add(&mut self, other: &Self) {
        self.histories += other.histories;
        self.steps += other.steps;
        self.invocations += other.invocations;
        self.crashes += other.crashes;
        self.errors += other.errors;
        self.lost += other.lost;
        self.duplicates += other.duplicates;
        self.executions += other.executions;
        self.experiments += other.experiments;
        self.promoted += other.promoted;
        self.troubles.add(&other.troubles);
        self.transitions |= other.transitions;
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} histories: {} invocations in {} steps, {} crashed, {} failed; {} events lost, {} duplicated; \
             {} pipeline executions; {} experiments, {} promoted; {}",
            self.histories,
            self.invocations,
            self.steps,
            self.crashes,
            self.errors,
            self.lost,
            self.duplicates,
            self.executions,
            self.experiments,
            self.promoted,
            self.troubles
        )
    }
}

/// A history that violated an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Seed that reproduces the failure.
    pub seed: u64,
    /// Violated invariant.
    pub what: String,
    /// Trace of the history, line by line.
    pub trace: Vec<String>,
}

/// The request of a command to the URL of the function `operator`.
fn url_request(request: u64, time: Timestamp, body: &Value) -> Value {
    json!({
        "requestContext": {
            "authorizer": {"iam": {"userArn": "arn:aws:iam::111122223333:user/ada"}},
            "http": {"method": "POST"},
            "requestId": format!("url-{request}"),
            "timeEpoch": time.as_millisecond(),
        },
        "body": body,
    })
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "  {line}")?;
        }
        write!(
            f,
            "seed {}: {}\nreproduce with: make simulate SEED={}",
            self.seed, self.what, self.seed
        )
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Ingest,
    Remediate,
    Operator,
    Sweep,
    Promote,
}

impl Function {
    fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Remediate => "remediate",
            Self::Operator => "operator",
            Self::Sweep => "sweep",
            Self::Promote => "promote",
        }
    }

    /// Timeout of the function in seconds.
    fn timeout(self) -> i64 {
        match self {
            Self::Ingest | Self::Remediate | Self::Operator => TIMEOUT,
            Self::Promote => PROMOTE_TIMEOUT,
            Self::Sweep => SWEEP_TIMEOUT,
        }
    }
}

/// A planned invocation.
#[derive(Debug, Clone)]
struct Invocation {
    function: Function,
    payload: Rc<str>,
    request: u64,
    attempt: u8,
}

/// A planned event of a history.
#[derive(Debug, Clone)]
enum Occurrence {
    Invoke(Invocation),
    /// An execution of a monitor ends.
    Execute(usize, usize),
    /// A monitoring schedule is stopped.
    Stop(usize),
    /// A pipeline execution ends.
    Finish(String, ExecutionStatus),
    /// A pipeline execution is started outside Driftwarden.
    StartManually,
    /// Another policy is published.
    Policy(String),
    /// A pipeline execution registers its model.
    Register(String),
    /// The scheduled tick of `promote`.
    Tick,
    /// One minute of requests to the endpoint.
    Traffic,
    /// An endpoint update succeeded or failed.
    Updated,
    /// The operator acts on an experiment.
    Act(OperatorAction),
    /// A lasting trouble begins or ends, or an operator acts.
    Trouble(Trouble),
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + 'a>>;

/// An invocation in progress.
struct Active<'a> {
    invocation: Invocation,
    began: Timestamp,
    /// Time until which its AWS call is pending.
    stalled_until: Timestamp,
    future: Running<'a>,
}

struct Functions {
    ingest: Ingest,
    remediate: Remediate,
    operator: Operator,
    sweep: Sweep,
    promote: Promote,
}

impl Functions {
    fn new() -> Option<Self> {
        let vars = Vars(|name: &str| {
            let value = match name {
                "STATE_BUCKET" => "driftwarden-state",
                "EVENT_BUS_NAME" => "driftwarden",
                "REPORT_BUCKET" => BUCKET,
                "REPORT_PREFIX" => "out",
                _ => return None,
            };
            Some(value.to_owned())
        });
        let config = Config::from_vars(&vars).ok()?;
        let settings = Settings {
            pipeline: "retraining".into(),
            pipeline_start: PipelineStart::Remediate,
        };
        Some(Self {
            ingest: Ingest::new(config.clone()),
            remediate: Remediate::new(settings.clone()),
            operator: Operator::new(Remediate::new(settings.clone()), AcceptedCommands::All),
            sweep: Sweep::new(Ingest::new(config), Remediate::new(settings), false),
            promote: Promote::default(),
        })
    }

    fn invoke<'a>(&'a self, world: &'a Memory, invocation: &Invocation) -> Running<'a> {
        let payload = Rc::clone(&invocation.payload);
        let request = format!("request-{}", invocation.request);
        match invocation.function {
            Function::Ingest => Box::pin(async move {
                let handled = self.ingest.handle(world, &payload, &request).await;
                handled.map(drop).map_err(|error| error.to_string())
            }),
            Function::Remediate => Box::pin(async move {
                let handled = self.remediate.handle(world, &payload, &request).await;
                handled.map(drop).map_err(|error| error.to_string())
            }),
            // The operator sends a command again if the answer is a failure, as EventBridge does with an event.
            Function::Operator => Box::pin(async move {
                let answer = self.operator.handle(world, &payload, &request).await;
                match answer.map_err(|error| error.to_string())? {
                    answer if answer.status_code >= 500 => Err(answer.body),
                    _ => Ok(()),
                }
            }),
            Function::Promote => Box::pin(async move {
                let deadline = after(world.time(), PROMOTE_TIMEOUT);
                let handled = self.promote.handle(world, &payload, &request, deadline).await;
                handled.map(drop).map_err(|error| error.to_string())
            }),
            Function::Sweep => Box::pin(async move {
                let timeout = payload.parse().unwrap_or(SWEEP_TIMEOUT);
                let deadline = after(world.time(), timeout);
                let swept = self.sweep.run(world, &request, deadline).await;
                swept.map(drop).map_err(|error| error.to_string())
            }),
        }
    }
}

/// A random policy.
fn random_policy(random: &mut Rng, monitors: usize) -> String {
    let mut text = random_settings(random, [0, 1, 2], 50) + "decide_after = '0s'\n";
    let monitors = (0..monitors).map(|number| format!("[[monitor]]\nschedule = 'monitor-{number}'\nmodel = 'churn'\n"));
    text.extend(monitors);
    text
}

/// The settings of a random policy. The last table is `[remediation]`.
fn random_settings(random: &mut Rng, cooldowns: [u8; 3], retrainings_per_day: u8) -> String {
    let n = random.u8(1..=3);
    let m = random.u8(1..=n);
    let automation = if random.u8(0..10) < 8 { "auto" } else { "approve" };
    let cooldown = random.choice(cooldowns).unwrap_or_default();
    let paused = random.u8(0..20) == 0;
    format!(
        "paused = {paused}\n[alert]\ndatapoints_to_alert = {m}\nevaluation_period = {n}\n\
         [remediation]\nautomation = '{automation}'\ncooldown = '{cooldown}h'\nretrainings_per_day = {retrainings_per_day}\n\
         retrainings_per_month = 50\nclose_after = 1\nverify_executions = 1\n"
    )
}

struct History<'a> {
    random: Rng,
    world: &'a Memory,
    functions: &'a Functions,
    monitors: Vec<Monitor>,
    /// Candidates, if this history tests any.
    candidates: Option<Candidates>,
    due: BinaryHeap<Reverse<(Timestamp, u64)>>,
    occurrences: BTreeMap<u64, Occurrence>,
    next: u64,
    requests: u64,
    active: Vec<Active<'a>>,
    dead_letters: Vec<Invocation>,
    events_seen: usize,
    executions_seen: usize,
    /// Published events by ID, and the ARNs of pipeline executions whose end is planned.
    published: BTreeMap<String, String>,
    /// Whether the history is in its final phase, without lost events, failures, and crashes.
    settling: bool,
    policy: String,
    statistics: Statistics,
    trace: Option<Vec<String>>,
    bug: Option<PlantedBug>,
    /// Versions of the documents in the last minutes, if the history checks them.
    truth: Option<Truth>,
    /// Lasting troubles, if this history has any.
    troubles: Option<Troubles>,
}

/// Simulates the history of a seed, optionally with a planted bug. `record` keeps its trace.
///
/// # Errors
/// If an invariant is violated.
pub fn simulate(seed: u64, bug: Option<PlantedBug>, record: bool) -> Result<Statistics, Failure> {
    // The jitter after a lost conditional write uses this generator.
    fastrand::seed(seed);
    let promotes = seed % PROMOTION_INTERVAL == PROMOTION_INTERVAL - 1;
    if seed % TROUBLE_INTERVAL == 1 && !promotes {
        return troubles::simulate(seed, bug, record);
    }
    let mut random = Rng::with_seed(seed);
    let world = new_world(bug);
    world.fail_randomly(seed, if random.u8(0..4) == 0 { 0 } else { random.u16(5..60) });
    let functions = Functions::new().ok_or_else(|| configuration_failed(seed))?;
    let monitors: Vec<Monitor> = (0..random.usize(1..=2))
        .map(|number| Monitor::new(number, &mut random))
        .collect();
    let shared_monitors = if random.u8(0..4) > 0 || promotes {
        monitors.len()
    } else {
        0
    };
    let mut policy = random_policy(&mut random, shared_monitors);
    let candidates = promotes.then(|| {
        policy.push_str(&candidates::promotion_table(&mut random));
        Candidates::new(&mut random, &world)
    });
    world.put_document("policy.toml", policy.as_str());
    let mut history = History::new(random, &world, &functions, bug, record);
    history.monitors = monitors;
    history.policy = policy;
    if promotes {
        world.record_writes();
        history.truth = Some(Truth::default());
    }
    history.candidates = candidates;
    match history.play(shared_monitors) {
        Ok(()) => Ok(history.statistics),
        Err(what) => Err(history.failure(seed, what)),
    }
}

fn new_world(bug: Option<PlantedBug>) -> Memory {
    let world = Memory::at(midnight());
    world.interleave();
    if let Some(bug) = bug {
        world.plant(bug);
    }
    world
}

fn configuration_failed(seed: u64) -> Failure {
    Failure {
        seed,
        what: "failed to configure the functions".into(),
        trace: Vec::new(),
    }
}

impl<'a> History<'a> {
    /// A history without monitors and plans.
    fn new(random: Rng, world: &'a Memory, functions: &'a Functions, bug: Option<PlantedBug>, record: bool) -> Self {
        Self {
            random,
            world,
            functions,
            monitors: Vec::new(),
            candidates: None,
            due: BinaryHeap::new(),
            occurrences: BTreeMap::new(),
            next: 0,
            requests: 0,
            active: Vec::new(),
            dead_letters: Vec::new(),
            events_seen: 0,
            executions_seen: 0,
            published: BTreeMap::new(),
            settling: false,
            policy: String::new(),
            statistics: Statistics {
                histories: 1,
                ..Statistics::default()
            },
            trace: record.then(Vec::new),
            bug,
            truth: None,
            troubles: None,
        }
    }

    fn failure(&mut self, seed: u64, what: String) -> Failure {
        Failure {
            seed,
            what,
            trace: self.trace.take().unwrap_or_default(),
        }
    }
}

impl History<'_> {
    fn play(&mut self, shared_monitors: usize) -> Result<(), String> {
        let mut last = 0;
        for number in 0..self.monitors.len() {
            let Some(monitor) = self.monitors.get(number) else {
                continue;
            };
            self.world
                .put_schedule(monitor.schedule("Scheduled"), "cron(0 * ? * * *)");
            let hours = monitor.states.len();
            for at in 0..hours {
                let ended = after(Monitor::hour(at), 600 + self.random.i64(0..1800));
                self.plan(ended, Occurrence::Execute(number, at));
            }
            let stopped = after(Monitor::hour(hours), 0);
            self.plan(stopped, Occurrence::Stop(number));
            last = last.max(hours);
        }
        let end = i64::try_from(last).unwrap_or_default() * 3600 + 3600;
        for _ in 0..self.random.u8(1..=3) {
            let at = after(midnight(), self.random.i64(3600..end));
            self.plan_sweep(at);
        }
        if self.random.u8(0..5) == 0 {
            let at = after(midnight(), self.random.i64(3600..end));
            let mut policy = random_policy(&mut self.random, shared_monitors);
            if self.candidates.is_some() {
                let (_, table) = self.policy.split_once("[[model]]").unwrap_or_default();
                let table = format!("[[model]]{table}");
                let stays = self.random.u8(0..3) > 0;
                policy.push_str(&if stays { table } else { candidates::turn_off(&table) });
            }
            self.plan(at, Occurrence::Policy(policy));
        }
        if self.random.u8(0..10) == 0 {
            let at = after(midnight(), self.random.i64(3600..end));
            self.plan(at, Occurrence::StartManually);
        }
        self.run()?;
        self.settle()?;
        if self.candidates.is_some() {
            self.execute_more()?;
        }
        // The deadlines of all stages pass.
        for seconds in [100 * 3600, 900, 900] {
            let at = after(self.world.time(), seconds);
            self.plan_sweep(at);
            self.run()?;
        }
        let policy = Policy::parse(self.policy.as_bytes()).map_err(|error| error.to_string())?;
        check(self.world, &self.monitors, &policy, &self.published)?;
        if let Some(candidates) = &self.candidates {
            candidates.check(self.world, &policy)?;
            (self.statistics.experiments, self.statistics.promoted) = Candidates::counts(self.world)?;
        }
        Ok(())
    }

    /// Final phase: failed events are redriven, pipeline executions end, and sweeps reconcile the rest.
    fn settle(&mut self) -> Result<(), String> {
        self.settling = true;
        self.world.fail_randomly(0, 0);
        self.record(|| "--- final phase: no lost events, failures, or crashes".to_owned());
        if let Some(candidates) = &self.candidates {
            self.world
                .updates(jiff::SignedDuration::from_mins(candidates.update_minutes), 0);
            self.tick_at(1);
        }
        self.redrive();
        for _ in 0..3 {
            let at = after(self.world.time(), 900);
            self.plan_sweep(at);
            self.run()?;
            self.final_actions()?;
        }
        // A cooldown or a pipeline execution in progress may have delayed the last decision.
        for seconds in [6 * 3600, 900, 900] {
            let at = after(self.world.time(), seconds);
            self.plan_sweep(at);
            self.run()?;
        }
        Ok(())
    }

    /// Sends the events in the dead-letter queue to their functions again.
    fn redrive(&mut self) {
        for invocation in std::mem::take(&mut self.dead_letters) {
            self.record(|| format!("redriven: {:?} request-{}", invocation.function, invocation.request));
            let request = self.request();
            let at = after(self.world.time(), 1);
            self.plan(
                at,
                Occurrence::Invoke(Invocation {
                    request,
                    attempt: 1,
                    ..invocation
                }),
            );
        }
    }

    /// Acts on experiments that wait for the operator. They would not end otherwise.
    fn final_actions(&mut self) -> Result<(), String> {
        while let Some(candidates) = &mut self.candidates
            && let Some(action) = candidates.final_action(&mut self.random, self.world)?
        {
            let at = after(self.world.time(), 60);
            self.plan(at, Occurrence::Act(action));
            self.run()?;
        }
        Ok(())
    }

    /// Executes the monitors for some more hours, so that incidents get the results of their candidates.
    fn execute_more(&mut self) -> Result<(), String> {
        let state = if self.random.u8(0..3) > 0 {
            DatapointState::Clean
        } else {
            DatapointState::Violations
        };
        for number in 0..self.monitors.len() {
            let since = self.world.time().duration_since(midnight()).as_hours();
            let first = usize::try_from(since).unwrap_or_default() + 1;
            let Some(monitor) = self.monitors.get_mut(number) else {
                continue;
            };
            monitor.states.resize(first, DatapointState::Missing);
            monitor.states.resize(first + VERIFICATION_HOURS, state);
            for at in first..first + VERIFICATION_HOURS {
                let ended = after(Monitor::hour(at), 600 + self.random.i64(0..1800));
                self.plan(ended, Occurrence::Execute(number, at));
            }
        }
        self.run()?;
        for seconds in [900, 900, 6 * 3600, 900, 900] {
            let at = after(self.world.time(), seconds);
            self.plan_sweep(at);
            self.run()?;
            self.final_actions()?;
        }
        Ok(())
    }

    /// Continues until nothing is planned and no invocation is in progress.
    fn run(&mut self) -> Result<(), String> {
        loop {
            let now = self.world.time();
            while let Some(Reverse((at, id))) = self.due.peek().copied() {
                if at > now {
                    break;
                }
                self.due.pop();
                if let Some(occurrence) = self.occurrences.remove(&id) {
                    self.apply(occurrence);
                }
            }
            if self.active.is_empty() {
                match self.due.peek() {
                    Some(Reverse((at, _))) => self.world.set_time(*at),
                    None => return Ok(()),
                }
                continue;
            }
            self.step()?;
        }
    }

    fn plan(&mut self, at: Timestamp, occurrence: Occurrence) {
        self.next += 1;
        self.due.push(Reverse((at, self.next)));
        self.occurrences.insert(self.next, occurrence);
    }

    fn tick_at(&mut self, seconds: i64) {
        let at = after(self.world.time(), seconds);
        if let Some(candidates) = self.candidates.as_mut().filter(|candidates| !candidates.ticking) {
            candidates.ticking = true;
            self.plan(at, Occurrence::Tick);
        }
    }

    fn plan_sweep(&mut self, at: Timestamp) {
        let request = self.request();
        self.plan(
            at,
            Occurrence::Invoke(Invocation {
                function: Function::Sweep,
                payload: Rc::from(""),
                request,
                attempt: 1,
            }),
        );
    }

    fn request(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    fn record(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let since = self.world.time().duration_since(midnight());
            let (hours, seconds) = (since.as_hours(), since.as_secs() % 3600);
            trace.push(format!(
                "{hours:>3}:{:02}:{:02}  {}",
                seconds / 60,
                seconds % 60,
                line()
            ));
        }
    }

    /// Delivers an event to a function: usually soon and once.
    fn send(&mut self, event: &Value, function: Function, lost_percent: u8) {
        if !self.settling && self.random.u8(0..100) < lost_percent {
            self.statistics.lost += 1;
            self.record(|| format!("lost: {}", describe(event)));
            return;
        }
        let copies = match self.random.u8(0..100) {
            0..75 => 1,
            75..92 => 2,
            _ => 3,
        };
        self.statistics.duplicates += u64::from(copies > 1);
        let payload: Rc<str> = event.to_string().into();
        for _ in 0..copies {
            let delay = match self.random.u8(0..100) {
                _ if self.settling => self.random.i64(0..5),
                0..70 => self.random.i64(0..20),
                70..95 => self.random.i64(20..3600),
                _ => self.random.i64(3600..2 * 24 * 3600),
            };
            let request = self.request();
            let invocation = Invocation {
                function,
                payload: Rc::clone(&payload),
                request,
                attempt: 1,
            };
            let at = after(self.world.time(), delay);
            self.plan(at, Occurrence::Invoke(invocation));
        }
    }

    fn apply(&mut self, occurrence: Occurrence) {
        match occurrence {
            Occurrence::Invoke(invocation) => {
                self.statistics.invocations += 1;
                self.record(|| {
                    let Invocation {
                        function,
                        request,
                        attempt,
                        payload,
                    } = &invocation;
                    let event = serde_json::from_str(payload).map_or_else(|_| String::new(), |event| describe(&event));
                    format!("request-{request} starts, attempt {attempt}: {function:?} {event}")
                });
                self.note_command(&invocation);
                self.active.push(Active {
                    began: self.world.time(),
                    stalled_until: Timestamp::MIN,
                    future: self.functions.invoke(self.world, &invocation),
                    invocation,
                });
            }
            Occurrence::Execute(number, at) => {
                if !self.is_scheduled(number) {
                    return;
                }
                let Some(monitor) = self.monitors.get(number) else {
                    return;
                };
                let (schedule, state) = (monitor.schedule.clone(), monitor.states.get(at).copied());
                let events = monitor.execute(at, self.world);
                self.record(|| format!("{schedule}: execution {} ends: {state:?}", at + 1));
                for event in events {
                    self.send(&event, Function::Ingest, 10);
                }
            }
            Occurrence::Stop(number) => {
                if let Some(monitor) = self.monitors.get(number) {
                    self.world
                        .put_schedule(monitor.schedule("Stopped"), "cron(0 * ? * * *)");
                }
            }
            Occurrence::Finish(arn, status) => self.finish(&arn, status),
            Occurrence::StartManually => {
                self.record(|| "a pipeline execution is started outside Driftwarden".to_owned());
                self.world.start_manually("manual", BTreeMap::new());
            }
            Occurrence::Policy(policy) => {
                self.record(|| format!("policy published: {}", policy.replace('\n', "; ")));
                self.world.put_document("policy.toml", policy.as_str());
                self.policy = policy;
            }
            Occurrence::Register(execution) => self.register(&execution),
            Occurrence::Tick => self.tick(),
            Occurrence::Traffic => {
                if let Some(candidates) = &self.candidates {
                    candidates.traffic(&mut self.random, self.world);
                }
            }
            Occurrence::Updated => {
                let status = json!({"EndpointName": MODEL, "EndpointStatus": "IN_SERVICE"});
                let event = event("aws.sagemaker", "SageMaker Endpoint State Change", &status);
                self.send(&event, Function::Promote, 10);
            }
            Occurrence::Act(action) => self.act(action),
            Occurrence::Trouble(trouble) => self.trouble(trouble),
        }
    }

    fn register(&mut self, execution: &str) {
        let Some(candidates) = &mut self.candidates else { return };
        let (detail, model) = candidates.register_model(&mut self.random, self.world, execution);
        self.record(|| format!("{execution} registers {model}"));
        let event = event("aws.sagemaker", "SageMaker Model Package State Change", &detail);
        self.send(&event, Function::Promote, 10);
        self.tick_at(60);
    }

    fn tick(&mut self) {
        let Some(candidates) = &mut self.candidates else { return };
        candidates.ticking = false;
        let next = candidates.after_tick(&mut self.random, self.world);
        let event = event("aws.events", "Scheduled Event", &json!({}));
        self.invoke_at(0, Function::Promote, &event);
        if self.random.u8(0..6) == 0 {
            // A duplicate tick, or a late one.
            let late = self.random.i64(0..60);
            self.invoke_at(late, Function::Promote, &event);
        }
        // A malformed document is reported at the end.
        if let Ok(Some(seconds)) = next {
            self.tick_at(seconds);
            let (start, end) = (self.world.time(), after(self.world.time(), seconds));
            let mut minute = start;
            while minute < end {
                self.plan(minute, Occurrence::Traffic);
                minute = after(minute, 60);
            }
        }
    }

    /// Performs an operator's action. Its event is delivered once and without delay.
    fn act(&mut self, action: OperatorAction) {
        let event = match action {
            OperatorAction::Order(detail) => {
                self.record(|| format!("ada orders: {detail}"));
                event("driftwarden.operator", "Experiment Command", &detail)
            }
            OperatorAction::Approval(arn, status) => {
                self.record(|| format!("{arn} is {status}"));
                let Some(detail) = Candidates::set_approval(self.world, &arn, status) else {
                    return;
                };
                event("aws.sagemaker", "SageMaker Model Package State Change", &detail)
            }
        };
        self.invoke_at(0, Function::Promote, &event);
        self.tick_at(60);
    }

    fn invoke_at(&mut self, seconds: i64, function: Function, event: &Value) {
        let request = self.request();
        let at = after(self.world.time(), seconds);
        self.plan(
            at,
            Occurrence::Invoke(Invocation {
                function,
                payload: event.to_string().into(),
                request,
                attempt: 1,
            }),
        );
    }

    fn finish(&mut self, arn: &str, status: ExecutionStatus) {
        // It may have been stopped or deleted meanwhile.
        if self.world.execution_status(arn).is_none_or(ExecutionStatus::is_final) {
            return;
        }
        self.world.finish(arn, status);
        self.record(|| format!("{arn} ends: {}", status.as_str()));
        self.note_end(arn);
        self.announce_execution(arn);
    }

    /// Sends the event about the status of a pipeline execution.
    fn announce_execution(&mut self, arn: &str) {
        let executions = self.world.runs();
        let Some((name, execution)) = executions.iter().find(|(_, execution)| execution.arn == arn) else {
            return;
        };
        let detail = json!({
            "pipelineArn": "arn:aws:sagemaker:us-east-1:000000000000:pipeline/retraining",
            "pipelineExecutionArn": arn,
            "pipelineExecutionDisplayName": name,
            "currentPipelineExecutionStatus": execution.status.as_str(),
            "executionStartTime": execution.start_time.map(|time| time.to_string()),
            "executionEndTime": execution.end_time.map(|time| time.to_string()),
        });
        let mut event = event(
            "aws.sagemaker",
            "SageMaker Model Building Pipeline Execution Status Change",
            &detail,
        );
        if let Some(time) = event.get_mut("time") {
            *time = self.world.time().to_string().into();
        }
        self.send(&event, Function::Remediate, 10);
    }

    /// One invocation in progress takes its next step, or crashes.
    fn step(&mut self) -> Result<(), String> {
        self.statistics.steps += 1;
        if self.statistics.steps > MAX_STEPS {
            return Err("the history does not end".into());
        }
        let mut at = self.random.usize(0..self.active.len());
        if self.candidates.is_some() {
            let now = self.world.time();
            let is_ready = |active: &&Active| active.stalled_until <= now;
            let count = self.active.iter().filter(is_ready).count();
            if count == 0 {
                self.wait();
                return Ok(());
            }
            let nth = self.random.usize(0..count);
            let mut ready = self.active.iter().enumerate().filter(|(_, active)| is_ready(active));
            at = ready.nth(nth).map_or(at, |(at, _)| at);
        }
        let mut active = self.active.swap_remove(at);
        let name = format!("request-{}", active.invocation.request);
        let crashes = !self.settling && self.random.u16(0..1000) < 8;
        let duration = self.world.time().duration_since(active.began).as_secs();
        if crashes || duration > active.invocation.function.timeout() {
            self.statistics.crashes += 1;
            self.record(|| format!("{name} crashes"));
            drop(active.future);
            self.retry(active.invocation);
        } else {
            let mut context = Context::from_waker(Waker::noop());
            let calls = self.world.call_count();
            let function = active.invocation.function;
            self.world.act_as(function.name());
            match active.future.as_mut().poll(&mut context) {
                Poll::Pending => {
                    // Reading evidence can take long; other invocations continue meanwhile.
                    let has_called = self.candidates.is_some() && self.world.call_count() > calls;
                    let reads = has_called && self.world.last_call() == Some(EVIDENCE_CALL);
                    if reads && self.random.u8(0..100) < 6 {
                        active.stalled_until = after(self.world.time(), self.random.i64(20..PROMOTE_TIMEOUT));
                        self.record(|| format!("{name}: reading evidence takes long"));
                    }
                    if self.stops_at_first(function) {
                        self.record(|| format!("{name} stops at an unreadable document"));
                    } else {
                        self.active.push(active);
                    }
                }
                Poll::Ready(Ok(())) => self.record(|| format!("{name} succeeds")),
                Poll::Ready(Err(error)) => {
                    self.statistics.errors += 1;
                    self.record(|| format!("{name} fails: {error}"));
                    self.retry(active.invocation);
                }
            }
        }
        let slow = if self.random.u8(0..50) == 0 { 15_000 } else { 400 };
        let millis = self.random.i64(1..slow);
        let now = self.world.time();
        let later = now.saturating_add(jiff::SignedDuration::from_millis(millis));
        self.world.set_time(later.unwrap_or(now));
        self.process_new_events()
    }

    /// All invocations wait for AWS: advances the time.
    fn wait(&mut self) {
        let due = self.due.peek().map(|Reverse((at, _))| *at);
        let answers = self.active.iter().map(|active| active.stalled_until);
        if let Some(next) = answers.chain(due).min() {
            self.world.set_time(next.max(self.world.time()));
        }
    }

    /// Retries an invocation with the same request ID, or sends its event to the dead-letter queue. A command is sent again.
    fn retry(&mut self, invocation: Invocation) {
        // A failed sweep or tick is not retried: the next one does the same.
        let ticks = invocation.payload.contains("\"Scheduled Event\"");
        if invocation.function == Function::Sweep || ticks {
            return;
        }
        if invocation.attempt >= MAX_ATTEMPTS && invocation.function == Function::Operator {
            return;
        }
        if invocation.attempt >= MAX_ATTEMPTS {
            self.record(|| format!("request-{} goes to the dead-letter queue", invocation.request));
            self.dead_letters.push(invocation);
            return;
        }
        let at = after(
            self.world.time(),
            60 * i64::from(invocation.attempt) + self.random.i64(0..10),
        );
        let mut again = Invocation {
            attempt: invocation.attempt + 1,
            ..invocation
        };
        // An operator sends the command again: Lambda does not retry the requests of a function URL.
        if again.function == Function::Operator
            && let Ok(request) = serde_json::from_str::<Value>(&again.payload)
        {
            again.request = self.request();
            let body = request.pointer("/body").unwrap_or(&Value::Null);
            again.payload = url_request(again.request, at, body).to_string().into();
        }
        self.plan(at, Occurrence::Invoke(again));
    }

    /// Processes the events that the last step published, and the pipeline executions and endpoint updates that it started.
    fn process_new_events(&mut self) -> Result<(), String> {
        self.check_writes()?;
        if let Some(candidates) = &mut self.candidates {
            if let Some(error) = self.world.endpoint_problem(MODEL) {
                return Err(error);
            }
            let updates = self.world.update_count();
            if updates > candidates.updates_seen {
                candidates.updates_seen = updates;
                let at = after(
                    self.world.time(),
                    candidates.update_minutes * 60 + self.random.i64(0..30),
                );
                self.plan(at, Occurrence::Updated);
                self.record(|| "an endpoint update starts".to_owned());
            }
        }
        if self.world.execution_count() > self.executions_seen {
            check_executions(self.world)?;
            self.executions_seen = self.world.execution_count();
            for (name, execution) in self.world.runs() {
                let planned = self.published.contains_key(&execution.arn);
                if planned || execution.status.is_final() {
                    continue;
                }
                // Record the ARN, so that the end is planned once.
                self.published.insert(execution.arn.clone(), String::new());
                self.statistics.executions += u64::from(name.starts_with("driftwarden-"));
                self.record(|| format!("pipeline execution {name} starts: {}", execution.arn));
                self.check_start(&name, &execution)?;
                let (status, seconds) = self.fate(&name);
                let at = after(self.world.time(), seconds);
                // A pipeline execution can succeed without registering a model.
                let registers = status == ExecutionStatus::Succeeded
                    && self.candidates.is_some()
                    && (self.settling || self.random.u8(0..20) > 0);
                if registers {
                    let before = after(at, -self.random.i64(0..60));
                    self.plan(before, Occurrence::Register(execution.arn.clone()));
                }
                self.plan(at, Occurrence::Finish(execution.arn, status));
            }
        }
        self.process_published()
    }

    /// Processes the events that the last step published.
    fn process_published(&mut self) -> Result<(), String> {
        for (detail_type, detail) in self.world.events_after(self.events_seen) {
            self.events_seen += 1;
            invariants::a10_id_names_one_event(&mut self.published, &detail)?;
            invariants::a11_event_is_bounded(&detail_type, &detail)?;
            let Ok(detail) = serde_json::from_str::<Value>(&detail) else {
                continue;
            };
            self.check_published(&detail_type, &detail)?;
            match detail_type.as_str() {
                "Model Monitor Alert State Change" | "Model Monitor Level Change" => {
                    let event = event("driftwarden", &detail_type, &detail);
                    self.send(&event, Function::Remediate, 10);
                }
                "Experiment State Change" => {
                    self.record(|| format!("published: {}", detail.get("sentence").unwrap_or(&Value::Null)));
                    if let Some(candidates) = &mut self.candidates
                        && let Some((seconds, action)) =
                            candidates.observe(&mut self.random, self.world, &detail, self.settling)?
                    {
                        let at = after(self.world.time(), seconds);
                        self.plan(at, Occurrence::Act(action));
                    }
                    self.tick_at(60);
                    let event = event("driftwarden", &detail_type, &detail);
                    self.send(&event, Function::Remediate, 10);
                }
                "Remediation Decided" => {
                    self.record(|| format!("decided: {}", detail.get("sentence").unwrap_or(&Value::Null)));
                    if detail.get("stage").and_then(Value::as_str) == Some("AwaitingApproval") {
                        self.respond(&detail);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Final status of a pipeline execution, and the seconds until its end.
    fn fate(&mut self, name: &str) -> (ExecutionStatus, i64) {
        // What happens in the twin of a history does not depend on the order of the steps.
        let mut named = self.troubles.as_ref().map(|troubles| troubles.generator_for(name));
        let random = named.as_mut().unwrap_or(&mut self.random);
        let status = if random.u8(0..5) > 0 {
            ExecutionStatus::Succeeded
        } else {
            ExecutionStatus::Failed
        };
        // Some end after the deadline of the stage.
        let is_late = random.u8(0..32) == 0;
        let seconds = if is_late { 49 * 3600..60 * 3600 } else { 60..2 * 3600 };
        (status, random.i64(seconds))
    }

    /// The operator approves, denies, or does not respond.
    fn respond(&mut self, decided: &Value) {
        if self.is_twin() {
            return;
        }
        let answer = self.random.u8(0..10);
        if answer == 9 {
            return;
        }
        let time = after(self.world.time(), self.random.i64(60..4 * 3600));
        let request = self.request();
        let command = json!({
            "id": format!("command-{request}"),
            "command": if answer < 7 { "approve" } else { "deny" },
            "incidentId": decided.get("incidentId"),
            "decision": decided.get("decision"),
        });
        let payload = url_request(request, time, &command.to_string().into());
        self.plan_command(time, request, &payload);
    }

    fn plan_command(&mut self, at: Timestamp, request: u64, payload: &Value) {
        self.plan(
            at,
            Occurrence::Invoke(Invocation {
                function: Function::Operator,
                payload: payload.to_string().into(),
                request,
                attempt: 1,
            }),
        );
    }
}

/// Short description of an event.
fn describe(event: &Value) -> String {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let pointers = [
        "/detail/object/key",
        "/detail/ProcessingJobName",
        "/detail/id",
        "/detail/pipelineExecutionDisplayName",
        "/detail/incidentId",
        "/detail/ModelPackageArn",
        "/detail/order",
    ];
    let subject = pointers.iter().find_map(|pointer| text(pointer)).unwrap_or_default();
    format!("`{}` {subject}", text("/detail-type").unwrap_or_default())
}

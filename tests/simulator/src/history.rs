//! One history from its seed: what happens when, which handler takes its next step, and where one dies.

use crate::{
    candidates::{self, Candidates, MODEL, Word},
    world::{BUCKET, Monitor, after, check, check_event, check_runs, event, midnight},
};
use alerting::DatapointState;
use fastrand::Rng;
use ingest::{Config, Ingest};
use jiff::Timestamp;
use promote::Promote;
use remediate::Remediate;
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
use sweep::Sweep;

/// A function is ended by Lambda after this many seconds.
const TIMEOUT: i64 = 60;
/// Promote, which may have much to read, and the sweep have longer.
const LONG_TIMEOUT: i64 = 300;
const SWEEP_TIMEOUT: i64 = 600;
/// Lambda tries an asynchronous invocation so often.
const ATTEMPTS: u8 = 3;
/// With this call promote begins to read what is known of the traffic.
const READS: &str = "cloudwatch:GetMetricData";
/// The longest window that a policy has here: so many hours more tell whether a promoted model helps.
const AGAIN: usize = 3;
/// Of so many histories one tests candidates: each takes several times as long as one that does not.
const PROMOTING: u64 = 10;
/// A history that takes more steps than this does not come to rest.
const STEPS: u64 = 200_000;

/// What was seen, over one history or many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Histories.
    pub histories: u64,
    /// Steps of handlers: from one AWS operation to the next.
    pub steps: u64,
    /// Invocations begun.
    pub invocations: u64,
    /// Invocations that died between two operations.
    pub crashes: u64,
    /// Invocations that ended with an error.
    pub errors: u64,
    /// Events that were lost.
    pub lost: u64,
    /// Events that came more than once.
    pub duplicates: u64,
    /// Runs that were started for an incident.
    pub runs: u64,
    /// Candidates that were tested.
    pub experiments: u64,
    /// Those of them that were promoted.
    pub promoted: u64,
}

impl Statistics {
    /// Adds another history's.
    pub fn add(&mut self, other: &Self) {
        self.histories += other.histories;
        self.steps += other.steps;
        self.invocations += other.invocations;
        self.crashes += other.crashes;
        self.errors += other.errors;
        self.lost += other.lost;
        self.duplicates += other.duplicates;
        self.runs += other.runs;
        self.experiments += other.experiments;
        self.promoted += other.promoted;
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} histories: {} invocations in {} steps, {} died, {} failed; {} events lost, {} duplicated; {} runs; {} \
             experiments, {} promoted",
            self.histories,
            self.invocations,
            self.steps,
            self.crashes,
            self.errors,
            self.lost,
            self.duplicates,
            self.runs,
            self.experiments,
            self.promoted
        )
    }
}

/// A history that broke a promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The seed that replays it.
    pub seed: u64,
    /// Which promise.
    pub what: String,
    /// What happened, line by line.
    pub story: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.story {
            writeln!(f, "  {line}")?;
        }
        write!(
            f,
            "seed {}: {}\nreplay it with: make simulate SEED={}",
            self.seed, self.what, self.seed
        )
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Ingest,
    Remediate,
    Sweep,
    Promote,
}

impl Function {
    /// A function is ended by Lambda after so many seconds.
    fn timeout(self) -> i64 {
        match self {
            Self::Ingest | Self::Remediate => TIMEOUT,
            Self::Promote => LONG_TIMEOUT,
            Self::Sweep => SWEEP_TIMEOUT,
        }
    }
}

/// An invocation that is due.
#[derive(Debug, Clone)]
struct Invocation {
    function: Function,
    payload: Rc<str>,
    request: u64,
    attempt: u8,
}

/// What happens at some time.
#[derive(Debug, Clone)]
enum Happening {
    Invoke(Invocation),
    /// A monitor's execution ends.
    Execute(usize, usize),
    /// A monitoring schedule is stopped.
    Stop(usize),
    /// A run ends.
    Finish(String, ExecutionStatus),
    /// Somebody starts a run by hand.
    StartByHand,
    /// A person puts another policy in force.
    Policy(String),
    /// A run registers what it made.
    Register(String),
    /// The rule's minute: experiments go on.
    Tick,
    /// A minute of requests to the endpoint.
    Traffic,
    /// An update of the endpoint has ended, one way or the other.
    Updated,
    /// A person says something to an experiment.
    Say(Word),
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + 'a>>;

/// An invocation under way.
struct Active<'a> {
    invocation: Invocation,
    began: Timestamp,
    /// Until when it does not get an answer.
    stalls: Timestamp,
    future: Running<'a>,
}

struct Functions {
    ingest: Ingest,
    remediate: Remediate,
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
            Function::Promote => Box::pin(async move {
                let deadline = after(world.time(), LONG_TIMEOUT);
                let handled = self.promote.handle(world, &payload, &request, deadline).await;
                handled.map(drop).map_err(|error| error.to_string())
            }),
            Function::Sweep => Box::pin(async move {
                let deadline = after(world.time(), SWEEP_TIMEOUT);
                let swept = self.sweep.run(world, &request, deadline).await;
                swept.map(drop).map_err(|error| error.to_string())
            }),
        }
    }
}

/// A policy, somewhat strict.
fn some_policy(random: &mut Rng, monitors: usize) -> String {
    let n = random.u8(1..=3);
    let m = random.u8(1..=n);
    let automation = if random.u8(0..10) < 8 { "auto" } else { "approve" };
    let cooldown = random.u8(0..3);
    let paused = random.u8(0..20) == 0;
    let mut text = format!(
        "paused = {paused}\n[alert]\ndatapoints_to_alert = {m}\nevaluation_period = {n}\n\
         [remediation]\nautomation = '{automation}'\ncooldown = '{cooldown}h'\nretrainings_per_day = 50\n\
         retrainings_per_month = 50\n"
    );
    let monitors = (0..monitors).map(|number| format!("[[monitor]]\nschedule = 'monitor-{number}'\nmodel = 'churn'\n"));
    text.extend(monitors);
    text
}

struct History<'a> {
    random: Rng,
    world: &'a Memory,
    functions: &'a Functions,
    monitors: Vec<Monitor>,
    /// Of the model whose candidates are tested, if they are in this history.
    candidates: Option<Candidates>,
    due: BinaryHeap<Reverse<(Timestamp, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    next: u64,
    requests: u64,
    active: Vec<Active<'a>>,
    dead_letters: Vec<Invocation>,
    events_seen: usize,
    runs_seen: usize,
    told: BTreeMap<String, String>,
    /// Whether the worst is over: nothing is lost, fails or dies any more.
    settling: bool,
    policy: String,
    statistics: Statistics,
    story: Option<Vec<String>>,
}

/// Plays the history of a seed, with a planted bug or without one. `tell` keeps its story.
///
/// # Errors
/// If a promise is broken.
pub fn simulate(seed: u64, bug: Option<PlantedBug>, tell: bool) -> Result<Statistics, Failure> {
    // What backs off after a lost conditional write draws from here.
    fastrand::seed(seed);
    let mut random = Rng::with_seed(seed);
    let world = Memory::at(midnight());
    world.interleave();
    world.trouble(seed, if random.u8(0..4) == 0 { 0 } else { random.u16(5..60) });
    if let Some(bug) = bug {
        world.plant(bug);
    }
    let fail = |what: String, story: Option<Vec<String>>| Failure {
        seed,
        what,
        story: story.unwrap_or_default(),
    };
    let functions = Functions::new().ok_or_else(|| fail("the functions cannot be configured".into(), None))?;
    let monitors: Vec<Monitor> = (0..random.usize(1..=2))
        .map(|number| Monitor::new(number, &mut random))
        .collect();
    let promotes = seed % PROMOTING == PROMOTING - 1;
    let of_one_model = if random.u8(0..4) > 0 || promotes {
        monitors.len()
    } else {
        0
    };
    let mut policy = some_policy(&mut random, of_one_model);
    let candidates = promotes.then(|| {
        policy.push_str(&candidates::table(&mut random));
        Candidates::new(&mut random, &world)
    });
    world.put_document("policy.toml", policy.as_str());
    let mut history = History {
        random,
        world: &world,
        functions: &functions,
        monitors,
        candidates,
        due: BinaryHeap::new(),
        happenings: BTreeMap::new(),
        next: 0,
        requests: 0,
        active: Vec::new(),
        dead_letters: Vec::new(),
        events_seen: 0,
        runs_seen: 0,
        told: BTreeMap::new(),
        settling: false,
        policy,
        statistics: Statistics {
            histories: 1,
            ..Statistics::default()
        },
        story: tell.then(Vec::new),
    };
    match history.play(of_one_model) {
        Ok(()) => Ok(history.statistics),
        Err(what) => Err(fail(what, history.story.take())),
    }
}

impl History<'_> {
    fn play(&mut self, of_one_model: usize) -> Result<(), String> {
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
                self.plan(ended, Happening::Execute(number, at));
            }
            let stopped = after(Monitor::hour(hours), 0);
            self.plan(stopped, Happening::Stop(number));
            last = last.max(hours);
        }
        let end = i64::try_from(last).unwrap_or_default() * 3600 + 3600;
        for _ in 0..self.random.u8(1..=3) {
            let at = after(midnight(), self.random.i64(3600..end));
            self.plan_sweep(at);
        }
        if self.random.u8(0..5) == 0 {
            let at = after(midnight(), self.random.i64(3600..end));
            let mut policy = some_policy(&mut self.random, of_one_model);
            if self.candidates.is_some() {
                let (_, table) = self.policy.split_once("[[model]]").unwrap_or_default();
                let table = format!("[[model]]{table}");
                let stays = self.random.u8(0..3) > 0;
                policy.push_str(&if stays { table } else { candidates::off(&table) });
            }
            self.plan(at, Happening::Policy(policy));
        }
        if self.random.u8(0..10) == 0 {
            let at = after(midnight(), self.random.i64(3600..end));
            self.plan(at, Happening::StartByHand);
        }
        self.run()?;
        self.settle()?;
        if self.candidates.is_some() {
            self.execute_again()?;
        }
        let policy = Policy::parse(self.policy.as_bytes()).map_err(|error| error.to_string())?;
        check(self.world, &self.monitors, &policy, &self.told)?;
        if let Some(candidates) = &self.candidates {
            candidates.check(self.world, &policy)?;
            (self.statistics.experiments, self.statistics.promoted) = Candidates::counts(self.world)?;
        }
        Ok(())
    }

    /// The worst is over: what failed is redriven, runs end, and sweeps mend the rest.
    fn settle(&mut self) -> Result<(), String> {
        self.settling = true;
        self.world.trouble(0, 0);
        self.tell(|| "--- from here on nothing is lost, fails or dies".to_owned());
        if let Some(candidates) = &self.candidates {
            self.world.updates(jiff::SignedDuration::from_mins(candidates.takes), 0);
            self.tick_at(1);
        }
        for invocation in std::mem::take(&mut self.dead_letters) {
            self.tell(|| format!("redriven: {:?} request-{}", invocation.function, invocation.request));
            let request = self.request();
            let at = after(self.world.time(), 1);
            self.plan(
                at,
                Happening::Invoke(Invocation {
                    request,
                    attempt: 1,
                    ..invocation
                }),
            );
        }
        for _ in 0..3 {
            let at = after(self.world.time(), 900);
            self.plan_sweep(at);
            self.run()?;
            self.word_at_last()?;
        }
        // A retrained model's cooldown, or a run, may have held the last decision.
        let at = after(self.world.time(), 6 * 3600);
        self.plan_sweep(at);
        self.run()?;
        for _ in 0..2 {
            let at = after(self.world.time(), 900);
            self.plan_sweep(at);
            self.run()?;
        }
        Ok(())
    }

    /// What a person left unsaid is said now: an experiment would wait for it for ever.
    fn word_at_last(&mut self) -> Result<(), String> {
        while let Some(candidates) = &mut self.candidates
            && let Some(word) = candidates.word_at_last(&mut self.random, self.world)?
        {
            let at = after(self.world.time(), 60);
            self.plan(at, Happening::Say(word));
            self.run()?;
        }
        Ok(())
    }

    /// The monitors execute for some more hours, so that what became of the candidates shows in the incidents.
    fn execute_again(&mut self) -> Result<(), String> {
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
            monitor.states.resize(first + AGAIN, state);
            for at in first..first + AGAIN {
                let ended = after(Monitor::hour(at), 600 + self.random.i64(0..1800));
                self.plan(ended, Happening::Execute(number, at));
            }
        }
        self.run()?;
        for seconds in [900, 900, 6 * 3600, 900, 900] {
            let at = after(self.world.time(), seconds);
            self.plan_sweep(at);
            self.run()?;
            self.word_at_last()?;
        }
        Ok(())
    }

    /// Goes on until nothing is due and nobody is at work.
    fn run(&mut self) -> Result<(), String> {
        loop {
            let now = self.world.time();
            while let Some(Reverse((at, id))) = self.due.peek().copied() {
                if at > now {
                    break;
                }
                self.due.pop();
                if let Some(happening) = self.happenings.remove(&id) {
                    self.happen(happening);
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

    fn plan(&mut self, at: Timestamp, happening: Happening) {
        self.next += 1;
        self.due.push(Reverse((at, self.next)));
        self.happenings.insert(self.next, happening);
    }

    fn tick_at(&mut self, seconds: i64) {
        let at = after(self.world.time(), seconds);
        if let Some(candidates) = self.candidates.as_mut().filter(|candidates| !candidates.ticking) {
            candidates.ticking = true;
            self.plan(at, Happening::Tick);
        }
    }

    fn plan_sweep(&mut self, at: Timestamp) {
        let request = self.request();
        self.plan(
            at,
            Happening::Invoke(Invocation {
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

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            let since = self.world.time().duration_since(midnight());
            let (hours, seconds) = (since.as_hours(), since.as_secs() % 3600);
            story.push(format!(
                "{hours:>3}:{:02}:{:02}  {}",
                seconds / 60,
                seconds % 60,
                line()
            ));
        }
    }

    /// EventBridge brings an event to a function: usually soon and once.
    fn send(&mut self, event: &Value, function: Function, lost_in_a_hundred: u8) {
        if !self.settling && self.random.u8(0..100) < lost_in_a_hundred {
            self.statistics.lost += 1;
            self.tell(|| format!("lost: {}", what(event)));
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
            self.plan(at, Happening::Invoke(invocation));
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Invoke(invocation) => {
                self.statistics.invocations += 1;
                self.tell(|| {
                    let Invocation {
                        function,
                        request,
                        attempt,
                        payload,
                    } = &invocation;
                    let of = serde_json::from_str(payload).map_or_else(|_| String::new(), |event| what(&event));
                    format!("request-{request} begins, attempt {attempt}: {function:?} {of}")
                });
                self.active.push(Active {
                    began: self.world.time(),
                    stalls: Timestamp::MIN,
                    future: self.functions.invoke(self.world, &invocation),
                    invocation,
                });
            }
            Happening::Execute(number, at) => {
                let Some(monitor) = self.monitors.get(number) else {
                    return;
                };
                let (schedule, state) = (monitor.schedule.clone(), monitor.states.get(at).copied());
                let events = monitor.execute(at, self.world);
                self.tell(|| format!("{schedule} ends its execution {}: {state:?}", at + 1));
                for event in events {
                    self.send(&event, Function::Ingest, 10);
                }
            }
            Happening::Stop(number) => {
                if let Some(monitor) = self.monitors.get(number) {
                    self.world
                        .put_schedule(monitor.schedule("Stopped"), "cron(0 * ? * * *)");
                }
            }
            Happening::Finish(arn, status) => self.finish(&arn, status),
            Happening::StartByHand => {
                self.tell(|| "somebody starts a run by hand".to_owned());
                self.world.start_by_hand("by hand", BTreeMap::new());
            }
            Happening::Policy(policy) => {
                self.tell(|| format!("another policy: {}", policy.replace('\n', "; ")));
                self.world.put_document("policy.toml", policy.as_str());
                self.policy = policy;
            }
            Happening::Register(run) => self.register(&run),
            Happening::Tick => self.tick(),
            Happening::Traffic => {
                if let Some(candidates) = &self.candidates {
                    candidates.traffic(&mut self.random, self.world);
                }
            }
            Happening::Updated => {
                let status = json!({"EndpointName": MODEL, "EndpointStatus": "IN_SERVICE"});
                let event = event("aws.sagemaker", "SageMaker Endpoint State Change", &status);
                self.send(&event, Function::Promote, 10);
            }
            Happening::Say(word) => self.say(word),
        }
    }

    fn register(&mut self, run: &str) {
        let Some(candidates) = &mut self.candidates else { return };
        let (detail, what) = candidates.made(&mut self.random, self.world, run);
        self.tell(|| format!("{run} registers {what}"));
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
            // Twice, or the one of the minute before is late.
            let late = self.random.i64(0..60);
            self.invoke_at(late, Function::Promote, &event);
        }
        // A document that cannot be read is found at the end.
        if let Ok(Some(seconds)) = next {
            self.tick_at(seconds);
            let (begin, end) = (self.world.time(), after(self.world.time(), seconds));
            let mut minute = begin;
            while minute < end {
                self.plan(minute, Happening::Traffic);
                minute = after(minute, 60);
            }
        }
    }

    /// A person says something: directly, and once.
    fn say(&mut self, word: Word) {
        let event = match word {
            Word::Order(detail) => {
                self.tell(|| format!("ada orders: {detail}"));
                event("driftwarden.operator", "Experiment Command", &detail)
            }
            Word::Approval(arn, status) => {
                self.tell(|| format!("{arn} is {status}"));
                let Some(detail) = Candidates::approve(self.world, &arn, status) else {
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
            Happening::Invoke(Invocation {
                function,
                payload: event.to_string().into(),
                request,
                attempt: 1,
            }),
        );
    }

    fn finish(&mut self, arn: &str, status: ExecutionStatus) {
        self.world.finish(arn, status);
        self.tell(|| format!("{arn} ends: {}", status.as_str()));
        let runs = self.world.runs();
        let Some((name, run)) = runs.iter().find(|(_, run)| run.arn == arn) else {
            return;
        };
        let detail = json!({
            "pipelineArn": "arn:aws:sagemaker:us-east-1:000000000000:pipeline/retraining",
            "pipelineExecutionArn": arn,
            "pipelineExecutionDisplayName": name,
            "currentPipelineExecutionStatus": status.as_str(),
            "executionStartTime": run.start_time.map(|time| time.to_string()),
            "executionEndTime": run.end_time.map(|time| time.to_string()),
        });
        let event = event(
            "aws.sagemaker",
            "SageMaker Model Building Pipeline Execution Status Change",
            &detail,
        );
        self.send(&event, Function::Remediate, 10);
    }

    /// One of those at work takes its next step, or dies.
    fn step(&mut self) -> Result<(), String> {
        self.statistics.steps += 1;
        if self.statistics.steps > STEPS {
            return Err("the history does not come to rest".into());
        }
        let mut at = self.random.usize(0..self.active.len());
        if self.candidates.is_some() {
            let now = self.world.time();
            let awake = |active: &&Active| active.stalls <= now;
            let count = self.active.iter().filter(awake).count();
            if count == 0 {
                self.wait();
                return Ok(());
            }
            let nth = self.random.usize(0..count);
            let mut awake = self.active.iter().enumerate().filter(|(_, active)| awake(active));
            at = awake.nth(nth).map_or(at, |(at, _)| at);
        }
        let mut active = self.active.swap_remove(at);
        let name = format!("request-{}", active.invocation.request);
        let dies = !self.settling && self.random.u16(0..1000) < 8;
        let took = self.world.time().duration_since(active.began).as_secs();
        if dies || took > active.invocation.function.timeout() {
            self.statistics.crashes += 1;
            self.tell(|| format!("{name} dies"));
            drop(active.future);
            self.again(active.invocation);
        } else {
            let mut context = Context::from_waker(Waker::noop());
            let calls = self.world.call_count();
            match active.future.as_mut().poll(&mut context) {
                Poll::Pending => {
                    // To read what was captured takes its time, and others go on meanwhile.
                    let called = self.candidates.is_some() && self.world.call_count() > calls;
                    let reads = called && self.world.last_call() == Some(READS);
                    if reads && self.random.u8(0..100) < 6 {
                        active.stalls = after(self.world.time(), self.random.i64(20..LONG_TIMEOUT));
                        self.tell(|| format!("{name} reads for long"));
                    }
                    self.active.push(active);
                }
                Poll::Ready(Ok(())) => self.tell(|| format!("{name} is done")),
                Poll::Ready(Err(error)) => {
                    self.statistics.errors += 1;
                    self.tell(|| format!("{name} fails: {error}"));
                    self.again(active.invocation);
                }
            }
        }
        let slow = if self.random.u8(0..50) == 0 { 15_000 } else { 400 };
        let millis = self.random.i64(1..slow);
        let now = self.world.time();
        let later = now.saturating_add(jiff::SignedDuration::from_millis(millis));
        self.world.set_time(later.unwrap_or(now));
        self.hear()
    }

    /// Everybody at work waits for an answer: time passes.
    fn wait(&mut self) {
        let due = self.due.peek().map(|Reverse((at, _))| *at);
        let answers = self.active.iter().map(|active| active.stalls);
        if let Some(next) = answers.chain(due).min() {
            self.world.set_time(next.max(self.world.time()));
        }
    }

    /// Lambda tries again, with the same request id, or gives up.
    fn again(&mut self, invocation: Invocation) {
        // The next sweep, and the next tick, make a failed one needless.
        let ticks = invocation.payload.contains("\"Scheduled Event\"");
        if invocation.function == Function::Sweep || ticks {
            return;
        }
        if invocation.attempt >= ATTEMPTS {
            self.tell(|| format!("request-{} goes to the dead-letter queue", invocation.request));
            self.dead_letters.push(invocation);
            return;
        }
        let at = after(
            self.world.time(),
            60 * i64::from(invocation.attempt) + self.random.i64(0..10),
        );
        self.plan(
            at,
            Happening::Invoke(Invocation {
                attempt: invocation.attempt + 1,
                ..invocation
            }),
        );
    }

    /// What the last step put on the bus, and the runs that it started.
    fn hear(&mut self) -> Result<(), String> {
        if let Some(candidates) = &mut self.candidates {
            if let Some(wrong) = self.world.wrong_with(MODEL) {
                return Err(wrong);
            }
            let updates = self.world.update_count();
            if updates > candidates.updates_seen {
                candidates.updates_seen = updates;
                let at = after(self.world.time(), candidates.takes * 60 + self.random.i64(0..30));
                self.plan(at, Happening::Updated);
                self.tell(|| "the endpoint is being updated".to_owned());
            }
        }
        if self.world.run_count() > self.runs_seen {
            check_runs(self.world)?;
            self.runs_seen = self.world.run_count();
            for (name, run) in self.world.runs() {
                let planned = self.told.contains_key(&run.arn);
                if planned || run.status.is_final() {
                    continue;
                }
                // Noted among what was told, so that a run's end is planned once.
                self.told.insert(run.arn.clone(), String::new());
                self.statistics.runs += u64::from(name.starts_with("driftwarden-"));
                self.tell(|| format!("the run {name} is under way: {}", run.arn));
                let status = if self.random.u8(0..5) > 0 {
                    ExecutionStatus::Succeeded
                } else {
                    ExecutionStatus::Failed
                };
                let at = after(self.world.time(), self.random.i64(60..2 * 3600));
                // A run may end well, and register nothing.
                let registers = status == ExecutionStatus::Succeeded
                    && self.candidates.is_some()
                    && (self.settling || self.random.u8(0..20) > 0);
                if registers {
                    let before = after(at, -self.random.i64(0..60));
                    self.plan(before, Happening::Register(run.arn.clone()));
                }
                self.plan(at, Happening::Finish(run.arn, status));
            }
        }
        for (detail_type, detail) in self.world.events_after(self.events_seen) {
            self.events_seen += 1;
            check_event(&mut self.told, &detail)?;
            let Ok(detail) = serde_json::from_str::<Value>(&detail) else {
                continue;
            };
            match detail_type.as_str() {
                "Model Monitor Alert State Change" => {
                    let event = event("driftwarden", &detail_type, &detail);
                    self.send(&event, Function::Remediate, 10);
                }
                "Experiment State Change" => {
                    self.tell(|| format!("told: {}", detail.get("sentence").unwrap_or(&Value::Null)));
                    if let Some(candidates) = &mut self.candidates
                        && let Some((seconds, word)) =
                            candidates.hear(&mut self.random, self.world, &detail, self.settling)?
                    {
                        let at = after(self.world.time(), seconds);
                        self.plan(at, Happening::Say(word));
                    }
                    self.tick_at(60);
                    let event = event("driftwarden", &detail_type, &detail);
                    self.send(&event, Function::Remediate, 10);
                }
                "Remediation Decided" => {
                    self.tell(|| format!("decided: {}", detail.get("sentence").unwrap_or(&Value::Null)));
                    if detail.get("stage").and_then(Value::as_str) == Some("AwaitingApproval") {
                        self.answer(&detail);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A person says yes, or no, or nothing.
    fn answer(&mut self, decided: &Value) {
        let answer = self.random.u8(0..10);
        if answer == 9 {
            return;
        }
        let time = after(self.world.time(), self.random.i64(60..4 * 3600));
        let detail = json!({
            "incidentId": decided.get("incidentId"),
            "granted": answer < 7,
            "by": "ada",
            "time": time.to_string(),
        });
        let event = event("driftwarden.operator", "Remediation Approval", &detail);
        let request = self.request();
        let payload: Rc<str> = event.to_string().into();
        self.plan(
            time,
            Happening::Invoke(Invocation {
                function: Function::Remediate,
                payload,
                request,
                attempt: 1,
            }),
        );
    }
}

/// An event in a few words.
fn what(event: &Value) -> String {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let of = [
        "/detail/object/key",
        "/detail/ProcessingJobName",
        "/detail/id",
        "/detail/pipelineExecutionDisplayName",
        "/detail/incidentId",
        "/detail/ModelPackageArn",
        "/detail/order",
    ];
    let of = of.iter().find_map(|pointer| text(pointer)).unwrap_or_default();
    format!("«{}» {of}", text("/detail-type").unwrap_or_default())
}

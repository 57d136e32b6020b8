//! Settings of monitors: the alert window, the rules for violations, and the maintenance windows.
//!
//! An alert window is one setting. It comes from the last `[[monitor]]` table that sets a part of it, completed by
//! `[alert]` and never by another `[[monitor]]` table. So each table's window is known when the policy is parsed, and a
//! look-up cannot fail. If two tables match one monitor and only together say what was meant, the policy is not valid:
//! [`Policy::resolve_windows`].

use super::{
    Layers, MonitorPolicy, MonitorRef, Policy, PolicyError, duration,
    explain::Setting,
    file::{AlertTable, MaintenanceTable, MonitorTable, WindowKind},
    fits, is_name, matches_monitor,
    values::{Number, Period, minute_of_week},
};
use alerting::{
    AlertWindow, ExecutionWindow, MaintenanceWindow, MonitorRules, Pattern, TimeWindow, TreatMissingData, Treatment,
    ViolationRule, WindowError,
};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Maximum number of periods in which a time window looks for datapoints.
const MAX_EVALUATION_RANGE: i64 = 200;

/// Alert windows of the tables.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Windows {
    /// Window of `[alert]`.
    all: AlertWindow,
    /// Windows of the `[[monitor]]` tables, in their order. `None` if a table sets no part of a window.
    monitors: Vec<Option<AlertWindow>>,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            all: AlertWindow::Executions(ExecutionWindow::default()),
            monitors: Vec::new(),
        }
    }
}

/// Parts of an alert window.
struct WindowParts {
    kind: WindowKind,
    datapoints_to_alert: i64,
    evaluation_period: i64,
    period: Period,
    treat_missing_data: TreatMissingData,
    evaluation_range: i64,
}

/// Reason why the parts are not a window.
enum NoWindow {
    Numbers(WindowError),
    EvaluationRange(i64),
}

impl WindowParts {
    fn from_layers(layers: &mut Layers<'_, AlertTable>) -> Self {
        let kind = layers.setting(
            "window",
            WindowKind::Executions,
            |t| t.window,
            |kind| kind.as_str().to_owned(),
        );
        let m = layers.setting("datapoints_to_alert", 1, |t| t.datapoints_to_alert, i64::to_string);
        let n = layers.setting("evaluation_period", 1, |t| t.evaluation_period, i64::to_string);
        let mut parts = Self {
            kind,
            datapoints_to_alert: m,
            evaluation_period: n,
            period: Period::default(),
            treat_missing_data: TreatMissingData::default(),
            evaluation_range: n.saturating_add(2),
        };
        if kind == WindowKind::Time {
            let (period, treat, range) = (parts.period, parts.treat_missing_data, parts.evaluation_range);
            parts.period = layers.setting("period", period, |t| t.period.clone(), |period| period.text.clone());
            parts.treat_missing_data = layers.setting(
                "treat_missing_data",
                treat,
                |t| t.treat_missing_data,
                |treat| treat.as_str().to_owned(),
            );
            parts.evaluation_range = layers.setting("evaluation_range", range, |t| t.evaluation_range, i64::to_string);
        }
        parts
    }

    fn build(&self) -> Result<AlertWindow, NoWindow> {
        let (m, n) = (self.datapoints_to_alert, self.evaluation_period);
        if self.kind == WindowKind::Executions {
            let window = ExecutionWindow::new(m, n).map_err(NoWindow::Numbers)?;
            return Ok(AlertWindow::Executions(window));
        }
        let window = TimeWindow::new(m, n, self.treat_missing_data).map_err(NoWindow::Numbers)?;
        let range = Some(self.evaluation_range).filter(|range| (n..=MAX_EVALUATION_RANGE).contains(range));
        let range = range.and_then(|range| usize::try_from(range).ok());
        Ok(AlertWindow::Time {
            window: window.with_evaluation_range(range.ok_or(NoWindow::EvaluationRange(self.evaluation_range))?),
            period: self.period.length,
        })
    }
}

impl Policy {
    /// Effective settings of a monitor.
    pub fn monitor(&self, monitor: &MonitorRef<'_>) -> MonitorPolicy {
        let model = self.model_for(monitor).0;
        let (rules, _) = self.rules(monitor, &model);
        MonitorPolicy { model, rules }
    }

    /// Returns the policy with a different alert window for all monitors, for a backtest. M and N are from 1 to 100, and
    /// M is not greater than N; otherwise the policy is unchanged.
    #[must_use]
    pub fn with_window(&self, datapoints_to_alert: u8, evaluation_period: u8) -> Self {
        let mut policy = self.clone();
        let tables = policy.file.monitor.iter_mut().map(|monitor| &mut monitor.alert);
        for table in tables.chain([&mut policy.file.alert]) {
            if !table.window_settings().is_empty() {
                table.datapoints_to_alert = Some(datapoints_to_alert.into());
                table.evaluation_period = Some(evaluation_period.into());
                // It may be shorter than the new window.
                table.evaluation_range = None;
            }
            table.follow_monitoring_alert = Some(false);
        }
        policy.file.alert.datapoints_to_alert = Some(datapoints_to_alert.into());
        policy.file.alert.evaluation_period = Some(evaluation_period.into());
        match policy.resolve_windows() {
            Ok(windows) => Self { windows, ..policy },
            Err(_) => self.clone(),
        }
    }

    /// Model of a monitor, and the path of the setting, if the policy sets it.
    pub(super) fn model_for(&self, monitor: &MonitorRef<'_>) -> (String, Option<String>) {
        let named = self.file.monitor.iter().enumerate().rev().find_map(|(at, table)| {
            let model = table.model.as_ref()?;
            matches_monitor(table.schedule.as_ref(), table.monitor_type, monitor)
                .then(|| (model.clone(), Some(format!("monitor.{at}.model"))))
        });
        named.unwrap_or_else(|| (monitor.endpoint.unwrap_or(monitor.schedule).to_owned(), None))
    }

    pub(super) fn rules(&self, monitor: &MonitorRef<'_>, model: &str) -> (MonitorRules, Vec<Setting>) {
        let tables = self.file.monitor.iter().enumerate();
        let matching =
            tables.filter(|(_, table)| matches_monitor(table.schedule.as_ref(), table.monitor_type, monitor));
        let mut layers = self.alert_layers();
        let mut last = None;
        for (at, table) in matching {
            layers.tables.push((format!("monitor.{at}.alert"), &table.alert));
            if let Some(window) = self.windows.monitors.get(at).copied().flatten() {
                last = Some((at, window));
            }
        }
        let mut window_layers = self.alert_layers();
        let window = match last {
            Some((at, window)) => {
                let table = self.file.monitor.get(at).map(|table| &table.alert);
                window_layers
                    .tables
                    .extend(table.map(|table| (format!("monitor.{at}.alert"), table)));
                window
            }
            None => self.windows.all,
        };
        WindowParts::from_layers(&mut window_layers);
        let mut settings = window_layers.settings;
        let follow = layers.setting(
            "follow_monitoring_alert",
            false,
            |t| t.follow_monitoring_alert,
            bool::to_string,
        );
        let mut treat = |name, get: fn(&AlertTable) -> Option<alerting::TreatAs>| {
            layers.setting(name, alerting::TreatAs::default(), get, |treat| {
                treat.as_str().to_owned()
            })
        };
        let treatment = Treatment {
            no_data: treat("no_data", |t| t.no_data),
            failed: treat("failed", |t| t.failed),
            missing: treat("missing", |t| t.missing),
        };
        let unhealthy_after = layers.setting(
            "unhealthy_after",
            Number(3),
            |t| t.unhealthy_after,
            |after| after.0.to_string(),
        );
        settings.append(&mut layers.settings);
        let violations = self.violation_rules(monitor, model, &mut settings);
        let maintenance = self.maintenance(monitor, model, &mut settings);
        let rules = MonitorRules {
            window,
            follow_monitoring_alert: follow,
            treatment,
            violations,
            maintenance,
            unhealthy_after: u8::try_from(unhealthy_after.0).unwrap_or(u8::MAX),
            policy_version: self.version.clone(),
        };
        (rules, settings)
    }

    fn alert_layers(&self) -> Layers<'_, AlertTable> {
        Layers::new(vec![("alert".to_owned(), &self.file.alert)])
    }

    fn violation_rules(
        &self,
        monitor: &MonitorRef<'_>,
        model: &str,
        settings: &mut Vec<Setting>,
    ) -> Vec<ViolationRule> {
        let mut rules = Vec::new();
        for (at, table) in self.file.violation.iter().enumerate() {
            if !fits(table.model.as_ref(), Some(model))
                || !matches_monitor(table.schedule.as_ref(), table.monitor_type, monitor)
            {
                continue;
            }
            let pattern = |text: &Option<String>| text.as_ref().map(Pattern::new);
            let rule = ViolationRule {
                check_type: pattern(&table.check_type),
                feature: pattern(&table.feature),
                metric: pattern(&table.metric),
                facet: pattern(&table.facet),
                minimum_exceedance: table.minimum_exceedance.map_or(0.0, |exceedance| exceedance.0),
                severity: table.severity.unwrap_or_default(),
                counts: table.counts.unwrap_or(true),
            };
            settings.push(Setting {
                name: "violation".into(),
                value: describe_rule(&rule),
                place: Some(format!("violation.{at}")),
            });
            rules.push(rule);
        }
        rules
    }

    fn maintenance(
        &self,
        monitor: &MonitorRef<'_>,
        model: &str,
        settings: &mut Vec<Setting>,
    ) -> Vec<MaintenanceWindow> {
        let mut windows = Vec::new();
        let tables = self.file.maintenance.iter().zip(&self.maintenance).enumerate();
        for (at, (table, (window, value))) in tables {
            if fits(table.model.as_ref(), Some(model)) && matches_monitor(table.schedule.as_ref(), None, monitor) {
                settings.push(Setting {
                    name: "maintenance".into(),
                    value: value.clone(),
                    place: Some(format!("maintenance.{at}")),
                });
                windows.push(*window);
            }
        }
        windows
    }

    /// Reads one table: the window and its description.
    pub(super) fn maintenance_window(
        &self,
        at: usize,
        table: &MaintenanceTable,
    ) -> Result<(MaintenanceWindow, String), PolicyError> {
        let path = format!("maintenance.{at}");
        let invalid = |name: &str, value: &str, expected: &str| PolicyError::Value {
            place: self.place(&format!("{path}.{name}")),
            value: value.to_owned(),
            expected: expected.to_owned(),
        };
        match (&table.start, &table.end, &table.every, &table.lasts) {
            (Some(start), Some(end), None, None) => {
                let time = |name: &str, text: &str| {
                    let time: Result<Timestamp, _> = text.parse();
                    time.map_err(|_| invalid(name, text, "a time such as 2026-12-24T18:00:00Z"))
                };
                let window = MaintenanceWindow::Once {
                    start: time("start", start)?,
                    end: time("end", end)?,
                };
                if matches!(window, MaintenanceWindow::Once { start, end } if end <= start) {
                    return Err(invalid("end", end, "a time after `start`"));
                }
                Ok((window, format!("from {start} to {end}")))
            }
            (None, None, Some(every), Some(lasts)) => {
                let expected = "a weekday and a time, such as Sat 22:00";
                let start_minute = minute_of_week(every).ok_or_else(|| invalid("every", every, expected))?;
                let minutes = duration(lasts)
                    .map(|lasts| lasts.as_mins())
                    .filter(|minutes| (1..=7 * 24 * 60).contains(minutes))
                    .ok_or_else(|| invalid("lasts", lasts, "a duration of up to a week, such as 6h"))?;
                let window = MaintenanceWindow::Weekly { start_minute, minutes };
                Ok((window, format!("every {every} for {lasts}")))
            }
            _ => Err(PolicyError::Conflict {
                place: self.place(&path),
                message: "set either `start` and `end`, or `every` and `lasts`".into(),
            }),
        }
    }

    /// Makes the alert window of each table.
    ///
    /// # Errors
    /// If a table gives no valid window, or if two `[[monitor]]` tables match one monitor and the later one, which applies,
    /// leaves out a part that the earlier one sets differently. Which window was meant is then not certain.
    pub(super) fn resolve_windows(&self) -> Result<Windows, PolicyError> {
        let all = self.window(self.alert_layers())?;
        let mut monitors = Vec::new();
        for (at, table) in self.file.monitor.iter().enumerate() {
            let mut layers = self.alert_layers();
            layers.tables.push((format!("monitor.{at}.alert"), &table.alert));
            let sets_window = !table.alert.window_settings().is_empty();
            monitors.push(if sets_window { Some(self.window(layers)?) } else { None });
        }
        let windows = Windows { all, monitors };
        self.check_overlaps(&windows)?;
        Ok(windows)
    }

    fn window(&self, mut layers: Layers<'_, AlertTable>) -> Result<AlertWindow, PolicyError> {
        let parts = WindowParts::from_layers(&mut layers);
        parts.build().map_err(|error| match error {
            NoWindow::Numbers(source) => PolicyError::Window {
                place: self.place_for_window(&layers.settings),
                source,
            },
            NoWindow::EvaluationRange(range) => PolicyError::Value {
                place: self.place_of(&layers.settings, "evaluation_range"),
                value: range.to_string(),
                expected: "a number of periods from evaluation_period to 200".to_owned(),
            },
        })
    }

    /// Place of the numbers of a window: the last one that the policy sets.
    fn place_for_window(&self, settings: &[Setting]) -> String {
        let numbers = ["evaluation_period", "datapoints_to_alert"];
        let mut found = settings
            .iter()
            .rev()
            .filter(|setting| numbers.contains(&setting.name.as_str()));
        match found.find_map(|setting| setting.place.as_ref()) {
            Some(path) => self.place(path),
            None => "[alert]".to_owned(),
        }
    }

    fn check_overlaps(&self, windows: &Windows) -> Result<(), PolicyError> {
        let tables: Vec<(usize, &MonitorTable, AlertWindow)> = self
            .file
            .monitor
            .iter()
            .zip(&windows.monitors)
            .enumerate()
            .filter_map(|(at, (table, window))| Some((at, table, (*window)?)))
            .collect();
        // Tables without a `*` concern each other only if they name the same schedule.
        let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut patterns = Vec::new();
        for (position, (_, table, _)) in tables.iter().enumerate() {
            let is_pattern = table.schedule.as_ref().is_none_or(|schedule| schedule.contains('*'));
            let candidates: Vec<usize> = if is_pattern {
                patterns.push(position);
                (0..position).collect()
            } else {
                let name = table.schedule.as_deref().unwrap_or_default().to_lowercase();
                let same = by_name.entry(name).or_default();
                let earlier = same.iter().chain(&patterns).copied().collect();
                same.push(position);
                earlier
            };
            for other in candidates {
                if let (Some(earlier), Some(later)) = (tables.get(other), tables.get(position)) {
                    self.check_overlap(earlier, later)?;
                }
            }
        }
        Ok(())
    }

    fn check_overlap(
        &self,
        (earlier_at, earlier, _): &(usize, &MonitorTable, AlertWindow),
        (later_at, later, window): &(usize, &MonitorTable, AlertWindow),
    ) -> Result<(), PolicyError> {
        let set_later = later.alert.window_settings();
        let mut left_out = earlier.alert.window_settings();
        left_out.retain(|setting| !set_later.contains(setting));
        if left_out.is_empty() {
            return Ok(());
        }
        let Some(example) = common_monitor(earlier, later) else {
            return Ok(());
        };
        let mut layers = self.alert_layers();
        layers.tables.push((String::new(), &earlier.alert));
        layers.tables.push((String::new(), &later.alert));
        let together = WindowParts::from_layers(&mut layers).build();
        if together.is_ok_and(|together| together == *window) {
            return Ok(());
        }
        Err(PolicyError::Conflict {
            place: self.place(&format!("monitor.{later_at}")),
            message: format!(
                "this table and {} both match {example}, and each sets a part of the alert window; also set {} in this \
                 table, or change `schedule` so that only one of them matches",
                self.place(&format!("monitor.{earlier_at}")),
                text::list(&left_out)
            ),
        })
    }
}

/// Describes a monitor that both tables match: `a schedule such as `churn-quality` of type DataQuality`. `None` if there
/// is none.
pub(super) fn common_monitor(a: &MonitorTable, b: &MonitorTable) -> Option<String> {
    let type_name = match (a.monitor_type, b.monitor_type) {
        (Some(a), Some(b)) if a != b => return None,
        (a, b) => a.or(b),
    };
    let pattern = |table: &MonitorTable| table.schedule.as_deref().unwrap_or("*").to_lowercase();
    let name = common_name(&pattern(a), &pattern(b))?;
    Some(match type_name {
        Some(type_name) => format!("a schedule such as `{name}` of type {}", type_name.0),
        None => format!("a schedule such as `{name}`"),
    })
}

/// Example of a name that both patterns match. `None` if there is none.
pub(super) fn common_name(a: &str, b: &str) -> Option<String> {
    let matches = |name: &str| Pattern::new(a).matches(name) && Pattern::new(b).matches(name);
    let (Some((a_start, a_rest)), Some((b_start, b_rest))) = (a.split_once('*'), b.split_once('*')) else {
        let literal = if a.contains('*') { b } else { a };
        return matches(literal).then(|| literal.to_owned());
    };
    let ((a_middle, a_end), (b_middle, b_end)) = (split_last(a_rest), split_last(b_rest));
    // With a `*` in both, only the texts before the first one and after the last one can exclude each other.
    let longer = |a: &'_ str, b: &'_ str| if a.len() >= b.len() { a.to_owned() } else { b.to_owned() };
    let (start, end) = (longer(a_start, b_start), longer(a_end, b_end));
    let agree = start.starts_with(a_start) && start.starts_with(b_start);
    if !agree || !end.ends_with(a_end) || !end.ends_with(b_end) {
        return None;
    }
    let middle = format!("{a_middle}{b_middle}").replace('*', "");
    let whole = format!("{start}{middle}{end}");
    // Prefers a short name in which the texts share characters, and one that SageMaker accepts.
    let shared = (1..=start.len().min(end.len())).rev().filter_map(|length| {
        let (head, tail) = (end.get(..length)?, end.get(length..)?);
        start.ends_with(head).then(|| format!("{start}{tail}"))
    });
    let padded = [format!("any{whole}"), format!("{whole}any"), format!("any{whole}any")];
    let mut names = shared.chain([whole.clone()]).chain(padded);
    Some(names.find(|name| is_name(name) && matches(name)).unwrap_or(whole))
}

/// Splits the rest of a pattern after its first `*` at its last `*`.
fn split_last(rest: &str) -> (&str, &str) {
    rest.rsplit_once('*').unwrap_or(("", rest))
}

fn describe_rule(rule: &ViolationRule) -> String {
    let parts = [
        ("check_type", &rule.check_type),
        ("feature", &rule.feature),
        ("metric", &rule.metric),
        ("facet", &rule.facet),
    ];
    let selectors: Vec<String> = parts
        .iter()
        .filter_map(|(name, pattern)| Some(format!("{name} {}", pattern.as_ref()?.as_str())))
        .collect();
    let what = if selectors.is_empty() {
        "all".to_owned()
    } else {
        selectors.join(", ")
    };
    if !rule.counts {
        return format!("{what}: ignored");
    }
    let severity = rule.severity.as_str();
    if rule.minimum_exceedance > 0.0 {
        format!(
            "{what}: {severity} if at least {} beyond the threshold, as a fraction of it",
            rule.minimum_exceedance
        )
    } else {
        format!("{what}: {severity}")
    }
}

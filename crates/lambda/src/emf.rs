//! Metrics of Driftwarden's functions: one record per invocation in CloudWatch's embedded metric format (user guide, page
//! *Specification: Embedded metric format*), written as a log line. CloudWatch Logs creates the metrics; no API is
//! called.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// Input of an invocation's record.
#[derive(Debug, Clone)]
pub(crate) struct Record<'a> {
    /// Namespace of the functions' metrics.
    pub(crate) namespace: &'a str,
    /// Name of the function.
    pub(crate) function_name: &'a str,
    /// Outcome of the event: `outcome` of the response, or the error type.
    pub(crate) outcome: &'a str,
    /// Start of the invocation.
    pub(crate) started: Timestamp,
    /// End of the invocation.
    pub(crate) ended: Timestamp,
    /// Time of the event, if the event contains it.
    pub(crate) event_time: Option<Timestamp>,
    /// Number of conditional writes that were retried after a conflict.
    pub(crate) conflicts_retried: u64,
    /// Number of executed effects.
    pub(crate) effects_executed: u64,
    /// Further members: those of the invocation's log lines, so that you can find one from the other.
    pub(crate) properties: Vec<(&'static str, Value)>,
}

impl Record<'_> {
    /// The record as one line. All metrics have the dimension of the function's name. Only the number of events also has that of
    /// the outcome, because each combination of metric and dimensions is billed.
    pub(crate) fn line(&self) -> String {
        let count = |name: &str| json!({"Name": name, "Unit": "Count"});
        let milliseconds = |name: &str| json!({"Name": name, "Unit": "Milliseconds"});
        let mut metrics = vec![
            count("EventsHandled"),
            milliseconds("HandlingTime"),
            count("ConflictsRetried"),
            count("EffectsCarriedOut"),
        ];
        let mut record = json!({
            "FunctionName": self.function_name,
            "Outcome": self.outcome,
            "EventsHandled": 1,
            "HandlingTime": between(self.started, self.ended),
            "ConflictsRetried": self.conflicts_retried,
            "EffectsCarriedOut": self.effects_executed,
        });
        if let Some(record) = record.as_object_mut() {
            if let Some(time) = self.event_time {
                metrics.push(milliseconds("EventAge"));
                record.insert("EventAge".into(), between(time, self.ended).into());
            }
            let directives = json!([
                {"Namespace": self.namespace, "Dimensions": [["FunctionName"]], "Metrics": metrics},
                {
                    "Namespace": self.namespace,
                    "Dimensions": [["FunctionName", "Outcome"]],
                    "Metrics": [count("EventsHandled")],
                },
            ]);
            let metadata = json!({"Timestamp": self.ended.as_millisecond(), "CloudWatchMetrics": directives});
            record.insert("_aws".into(), metadata);
            let properties = self.properties.iter().cloned();
            record.extend(properties.map(|(name, value)| (name.to_owned(), value)));
        }
        record.to_string()
    }
}

/// Milliseconds from one time to another. At least 0, because clocks differ slightly.
fn between(from: Timestamp, to: Timestamp) -> i64 {
    let took = to.duration_since(from).max(SignedDuration::ZERO);
    i64::try_from(took.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = include_str!("../../../tests/harness/emf.schema.json");

    /// Validates an instance against a schema. Supports the part of JSON Schema that the schema of the format uses.
    fn errors(schema: &Value, instance: &Value, root: &Value, at: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut report = |problem: String| found.push(format!("{at}: {problem}"));
        if let Some(to) = schema.get("$ref").and_then(Value::as_str) {
            let target = root.pointer(to.strip_prefix('#').unwrap()).unwrap();
            return errors(target, instance, root, at);
        }
        let length = match instance {
            Value::String(text) => Some((text.chars().count(), "minLength", "maxLength")),
            Value::Array(items) => Some((items.len(), "minItems", "maxItems")),
            _ => None,
        };
        let has_type = match schema.get("type").and_then(Value::as_str) {
            Some("object") => instance.is_object(),
            Some("array") => instance.is_array(),
            Some("string") => instance.is_string(),
            Some("integer") => instance.is_i64() || instance.is_u64(),
            None => true,
            Some(other) => panic!("unsupported type {other} in the schema"),
        };
        if !has_type {
            report(format!("{instance} is not of type {}", schema["type"]));
        }
        if let Some((length, minimum, maximum)) = length {
            let limit = |name: &str| schema.get(name).and_then(Value::as_u64);
            let length = length as u64;
            if limit(minimum).is_some_and(|minimum| length < minimum)
                || limit(maximum).is_some_and(|maximum| length > maximum)
            {
                report(format!("length {length} is out of range"));
            }
        }
        let allowed = schema.get("enum").and_then(Value::as_array);
        if allowed.is_some_and(|allowed| !allowed.contains(instance)) {
            report(format!("{instance} is not among those allowed"));
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required.filter_map(Value::as_str) {
            if instance.get(name).is_none() {
                report(format!("{name} is missing"));
            }
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, value) in instance.as_object().into_iter().flatten() {
            match properties.and_then(|properties| properties.get(name)) {
                Some(schema) => found.extend(errors(schema, value, root, &format!("{at}/{name}"))),
                None if schema.get("additionalProperties") == Some(&Value::Bool(false)) => {
                    found.push(format!("{at}: unexpected member {name}"));
                }
                None => {}
            }
        }
        if let (Some(schema), Some(items)) = (schema.get("items"), instance.as_array()) {
            for (number, item) in items.iter().enumerate() {
                found.extend(errors(schema, item, root, &format!("{at}/{number}")));
            }
        }
        found
    }

    /// Validates the members that the directives name.
    fn target_errors(record: &Value) -> Vec<String> {
        let mut errors = Vec::new();
        for directive in record["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
            let metrics = directive["Metrics"].as_array().unwrap().iter();
            for name in metrics.map(|metric| metric["Name"].as_str().unwrap()) {
                if !record[name].is_number() {
                    errors.push(format!("metric {name} is not a number"));
                }
            }
            let sets = directive["Dimensions"].as_array().unwrap().iter();
            for name in sets.flat_map(|set| set.as_array().unwrap()).filter_map(Value::as_str) {
                if !record[name].is_string() {
                    errors.push(format!("dimension {name} is not a string"));
                }
            }
        }
        errors
    }

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(1_795_392_000_000 + millisecond).unwrap()
    }

    fn record() -> Record<'static> {
        Record {
            namespace: "Driftwarden/Functions",
            function_name: "driftwarden-ingest",
            outcome: "recorded",
            started: at(1000),
            ended: at(1080),
            event_time: Some(at(0)),
            conflicts_retried: 1,
            effects_executed: 2,
            properties: vec![("request_id", "r1".into())],
        }
    }

    fn read(record: &Record<'_>) -> Value {
        let line = record.line();
        assert_eq!(line.lines().count(), 1);
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn record_is_valid_and_complete() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let read = read(&record());
        assert_eq!(errors(&schema, &read, &schema, ""), Vec::<String>::new());
        assert_eq!(target_errors(&read), Vec::<String>::new());
        let numbers = [
            "EventsHandled",
            "EventAge",
            "HandlingTime",
            "ConflictsRetried",
            "EffectsCarriedOut",
        ];
        assert_eq!(numbers.map(|name| read[name].as_i64().unwrap()), [1, 1080, 80, 1, 2]);
        assert_eq!(read["Outcome"], "recorded");
        assert_eq!(read["request_id"], "r1");
        assert_eq!(read["_aws"]["Timestamp"], at(1080).as_millisecond());
    }

    #[test]
    fn event_without_time_has_no_age() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let read = read(&Record {
            event_time: None,
            ended: at(999),
            ..record()
        });
        assert_eq!(errors(&schema, &read, &schema, ""), Vec::<String>::new());
        assert_eq!(target_errors(&read), Vec::<String>::new());
        assert!(read.get("EventAge").is_none());
        assert_eq!(read["HandlingTime"], 0);
    }

    #[test]
    fn invalid_records_are_found() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let mut read = read(&record());
        read["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Unit"] = "Events".into();
        read["_aws"]["CloudWatchMetrics"][1]["Namespace"] = "".into();
        read.as_object_mut().unwrap().remove("Outcome");
        assert_eq!(errors(&schema, &read, &schema, "").len(), 2);
        assert_eq!(target_errors(&read), ["dimension Outcome is not a string"]);
    }
}

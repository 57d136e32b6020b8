//! The metrics of our own functions: one record an invocation, in CloudWatch's embedded metric format (user guide, page
//! `CloudWatch_Embedded_Metric_Format_Specification`), among the log lines. CloudWatch Logs makes metrics of it; nothing is
//! called.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// What an invocation was, for its record.
#[derive(Debug, Clone)]
pub(crate) struct Record<'a> {
    /// The namespace of the functions' metrics.
    pub(crate) namespace: &'a str,
    /// The function's name.
    pub(crate) function_name: &'a str,
    /// What became of the event: the answer's `outcome`, or the type of the error.
    pub(crate) outcome: &'a str,
    /// When it began.
    pub(crate) began: Timestamp,
    /// When it ended.
    pub(crate) ended: Timestamp,
    /// When the event happened, if it says so.
    pub(crate) event_time: Option<Timestamp>,
    /// How many conditional writes were lost and tried again.
    pub(crate) conflicts_retried: u64,
    /// How many effects were carried out.
    pub(crate) effects_carried_out: u64,
    /// Further members: what the log lines of the invocation have, that one be found from the other.
    pub(crate) properties: Vec<(&'static str, Value)>,
}

impl Record<'_> {
    /// The record: one line. By the function's name all metrics, by its outcome as well only how many events there were:
    /// each metric with its dimensions is paid for on its own.
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
            "HandlingTime": between(self.began, self.ended),
            "ConflictsRetried": self.conflicts_retried,
            "EffectsCarriedOut": self.effects_carried_out,
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
            let of = json!({"Timestamp": self.ended.as_millisecond(), "CloudWatchMetrics": directives});
            record.insert("_aws".into(), of);
            let properties = self.properties.iter().cloned();
            record.extend(properties.map(|(name, value)| (name.to_owned(), value)));
        }
        record.to_string()
    }
}

/// Milliseconds from one time to another. Clocks differ by a little: nothing takes less than no time.
fn between(from: Timestamp, to: Timestamp) -> i64 {
    let took = to.duration_since(from).max(SignedDuration::ZERO);
    i64::try_from(took.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = include_str!("../../../tests/harness/emf.schema.json");

    /// The errors that an instance has by a schema, for what the schema of the format uses of JSON Schema.
    fn errors(schema: &Value, instance: &Value, root: &Value, at: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut wrong = |what: String| found.push(format!("{at}: {what}"));
        if let Some(to) = schema.get("$ref").and_then(Value::as_str) {
            let target = root.pointer(to.strip_prefix('#').unwrap()).unwrap();
            return errors(target, instance, root, at);
        }
        let length = match instance {
            Value::String(text) => Some((text.chars().count(), "minLength", "maxLength")),
            Value::Array(items) => Some((items.len(), "minItems", "maxItems")),
            _ => None,
        };
        let fits = match schema.get("type").and_then(Value::as_str) {
            Some("object") => instance.is_object(),
            Some("array") => instance.is_array(),
            Some("string") => instance.is_string(),
            Some("integer") => instance.is_i64() || instance.is_u64(),
            None => true,
            Some(other) => panic!("this reader of schemas does not know the type {other}"),
        };
        if !fits {
            wrong(format!("{instance} is no {}", schema["type"]));
        }
        if let Some((length, least, most)) = length {
            let limit = |name: &str| schema.get(name).and_then(Value::as_u64);
            let length = length as u64;
            if limit(least).is_some_and(|least| length < least) || limit(most).is_some_and(|most| length > most) {
                wrong(format!("{length} are too few or too many"));
            }
        }
        let allowed = schema.get("enum").and_then(Value::as_array);
        if allowed.is_some_and(|allowed| !allowed.contains(instance)) {
            wrong(format!("{instance} is not among those allowed"));
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required.filter_map(Value::as_str) {
            if instance.get(name).is_none() {
                wrong(format!("{name} is missing"));
            }
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, value) in instance.as_object().into_iter().flatten() {
            match properties.and_then(|properties| properties.get(name)) {
                Some(of) => found.extend(errors(of, value, root, &format!("{at}/{name}"))),
                None if schema.get("additionalProperties") == Some(&Value::Bool(false)) => {
                    found.push(format!("{at}: {name} is one too many"));
                }
                None => {}
            }
        }
        if let (Some(of), Some(items)) = (schema.get("items"), instance.as_array()) {
            for (number, item) in items.iter().enumerate() {
                found.extend(errors(of, item, root, &format!("{at}/{number}")));
            }
        }
        found
    }

    /// What the format asks of the members that its directives name.
    fn targets(record: &Value) -> Vec<String> {
        let mut wrong = Vec::new();
        for directive in record["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
            let metrics = directive["Metrics"].as_array().unwrap().iter();
            for name in metrics.map(|metric| metric["Name"].as_str().unwrap()) {
                if !record[name].is_number() {
                    wrong.push(format!("metric {name} is no number"));
                }
            }
            let sets = directive["Dimensions"].as_array().unwrap().iter();
            for name in sets.flat_map(|set| set.as_array().unwrap()).filter_map(Value::as_str) {
                if !record[name].is_string() {
                    wrong.push(format!("dimension {name} is no text"));
                }
            }
        }
        wrong
    }

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(1_795_392_000_000 + millisecond).unwrap()
    }

    fn record() -> Record<'static> {
        Record {
            namespace: "Driftwarden/Functions",
            function_name: "driftwarden-ingest",
            outcome: "recorded",
            began: at(1000),
            ended: at(1080),
            event_time: Some(at(0)),
            conflicts_retried: 1,
            effects_carried_out: 2,
            properties: vec![("request_id", "r1".into())],
        }
    }

    fn read(record: &Record<'_>) -> Value {
        let line = record.line();
        assert_eq!(line.lines().count(), 1);
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn a_record_is_what_cloudwatch_takes_and_says_what_was_done() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let read = read(&record());
        assert_eq!(errors(&schema, &read, &schema, ""), Vec::<String>::new());
        assert_eq!(targets(&read), Vec::<String>::new());
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
    fn an_event_without_a_time_has_no_age_and_nothing_takes_less_than_no_time() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let read = read(&Record {
            event_time: None,
            ended: at(999),
            ..record()
        });
        assert_eq!(errors(&schema, &read, &schema, ""), Vec::<String>::new());
        assert_eq!(targets(&read), Vec::<String>::new());
        assert!(read.get("EventAge").is_none());
        assert_eq!(read["HandlingTime"], 0);
    }

    #[test]
    fn what_cloudwatch_would_not_take_is_found() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let mut read = read(&record());
        read["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Unit"] = "Events".into();
        read["_aws"]["CloudWatchMetrics"][1]["Namespace"] = "".into();
        read.as_object_mut().unwrap().remove("Outcome");
        assert_eq!(errors(&schema, &read, &schema, "").len(), 2);
        assert_eq!(targets(&read), ["dimension Outcome is no text"]);
    }
}

//! `docs/reference/policy.md` and `docs/reference/events.md`, from the JSON Schemas.

use super::{cell, check, read};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

/// Definitions of a schema, and those that a page refers to.
struct Definitions<'a> {
    known: &'a Map<String, Value>,
    /// Definitions that have their own section, with the link to it.
    linked: BTreeMap<String, String>,
    referenced: BTreeSet<String>,
}

fn text<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(schema: &'a Value, key: &str) -> &'a [Value] {
    schema.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn is_null(schema: &Value) -> bool {
    text(schema, "type") == "null"
}

impl Definitions<'_> {
    /// Description of a type.
    fn kind(&mut self, schema: &Value) -> String {
        if let Some(name) = text(schema, "$ref").strip_prefix("#/$defs/") {
            return self.named(name);
        }
        if let Some(value) = schema.get("const") {
            return format!("`{}`", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        if !list(schema, "enum").is_empty() {
            let values = list(schema, "enum").iter().filter_map(Value::as_str);
            return values.map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
        }
        for key in ["anyOf", "oneOf"] {
            let choices: Vec<String> = list(schema, key)
                .iter()
                .filter(|choice| !is_null(choice))
                .map(|choice| self.kind(choice))
                .collect();
            if !choices.is_empty() {
                return choices.join(" or ");
            }
        }
        let mut kinds = list(schema, "type").iter().filter_map(Value::as_str);
        let kind = match text(schema, "type") {
            "" => kinds.find(|kind| *kind != "null").unwrap_or_default(),
            kind => kind,
        };
        match kind {
            "array" => schema
                .get("items")
                .map_or_else(|| "list".to_owned(), |items| format!("list of {}", self.kind(items))),
            "object" => schema
                .get("additionalProperties")
                .filter(|more| more.is_object())
                .map_or_else(|| "object".to_owned(), |more| format!("{} by name", self.kind(more))),
            "integer" => {
                // The bounds of the Rust type itself are omitted.
                let bound = |key: &str| schema.get(key).and_then(Value::as_i64);
                match (bound("minimum"), bound("maximum")) {
                    (Some(least), Some(most)) if most < 255 => format!("integer, {least} to {most}"),
                    _ => "integer".to_owned(),
                }
            }
            "" => "any".to_owned(),
            kind => kind.to_owned(),
        }
    }

    fn named(&mut self, name: &str) -> String {
        if let Some(link) = self.linked.get(name) {
            return link.clone();
        }
        let definition = self.known.get(name).unwrap();
        let choices = list(definition, "oneOf");
        let simple = !choices.is_empty() && choices.iter().all(|choice| choice.get("const").is_some());
        if simple {
            return self.kind(definition);
        }
        // A named string or list is shown as its type; a type with fields has its own section.
        if definition.get("properties").is_none() && choices.is_empty() {
            return self.kind(definition);
        }
        self.referenced.insert(name.to_owned());
        format!("[{name}](#{})", name.to_lowercase().replace(' ', "-"))
    }

    /// Table of the fields of an object.
    fn fields(&mut self, schema: &Value, with_default: bool) -> String {
        let mut table = if with_default {
            "| setting | type | default | meaning |\n| --- | --- | --- | --- |\n".to_owned()
        } else {
            "| field | type | meaning |\n| --- | --- | --- |\n".to_owned()
        };
        let required: BTreeSet<&str> = list(schema, "required").iter().filter_map(Value::as_str).collect();
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, property) in properties.into_iter().flatten() {
            let kind = cell(&self.kind(property));
            let meaning = text(property, "description");
            if with_default {
                let (meaning, default) = match meaning.split_once(" Default: ") {
                    _ if required.contains(name.as_str()) => (meaning, "required"),
                    Some((meaning, default)) => (meaning, default.strip_suffix('.').unwrap_or(default)),
                    None => (meaning, "–"),
                };
                writeln!(table, "| `{name}` | {kind} | {} | {} |", cell(default), cell(meaning)).unwrap();
            } else {
                let optional = if required.contains(name.as_str()) {
                    ""
                } else {
                    ", optional"
                };
                writeln!(table, "| `{name}` | {kind}{optional} | {} |", cell(meaning)).unwrap();
            }
        }
        table
    }

    /// Table of the variants of a choice, with their fields.
    fn variants(&mut self, schema: &Value) -> String {
        let mut table = "| variant | type | meaning |\n| --- | --- | --- |\n".to_owned();
        for choice in list(schema, "oneOf").iter().chain(list(schema, "anyOf")) {
            let properties = choice.get("properties").and_then(Value::as_object);
            let parts: Vec<String> = properties
                .into_iter()
                .flatten()
                .map(|(name, property)| format!("`{name}`: {}", self.kind(property)))
                .collect();
            let (variant, kind) = if parts.is_empty() {
                (self.kind(choice), String::new())
            } else {
                (parts.join(", "), "object".to_owned())
            };
            writeln!(
                table,
                "| {} | {kind} | {} |",
                cell(&variant),
                cell(text(choice, "description"))
            )
            .unwrap();
        }
        table
    }
}

#[test]
fn policy_reference_matches_schema() {
    let schema: Value = serde_json::from_str(&read("infra/policy.schema.json")).unwrap();
    let known = schema.get("$defs").and_then(Value::as_object).unwrap();
    // Every table of the policy has a section. Nested tables are those that are not a top-level key.
    let mut sections: Vec<(String, String, &Value)> = Vec::new();
    let mut linked = BTreeMap::new();
    let mut plain = Map::new();
    for (name, property) in schema.get("properties").and_then(Value::as_object).unwrap() {
        let (title, reference) = match property.get("items") {
            Some(items) => (format!("[[{name}]]"), text(items, "$ref")),
            None => (format!("[{name}]"), text(property, "$ref")),
        };
        match reference.strip_prefix("#/$defs/") {
            Some(definition) => {
                linked.insert(definition.to_owned(), format!("as in [`{title}`](#{name})"));
                sections.push((
                    title,
                    text(property, "description").to_owned(),
                    known.get(definition).unwrap(),
                ));
            }
            None => {
                plain.insert(name.clone(), property.clone());
            }
        }
    }
    let mut definitions = Definitions {
        known,
        linked,
        referenced: BTreeSet::new(),
    };
    let mut page = "## Top-level settings\n\n".to_owned();
    page += &definitions.fields(
        &Value::Object(Map::from_iter([("properties".to_owned(), Value::Object(plain))])),
        true,
    );
    for (title, description, table) in sections {
        write!(page, "\n## `{title}`\n\n{description}\n\n").unwrap();
        page += &definitions.fields(table, true);
    }
    page += "\n## Nested tables\n";
    page += &referenced_sections(&mut definitions, true);
    check("docs/reference/policy.md", &page);
}

/// Sections of all referenced definitions, and of those that they refer to.
fn referenced_sections(definitions: &mut Definitions<'_>, with_default: bool) -> String {
    let mut page = String::new();
    let mut done = BTreeSet::new();
    while let Some(name) = definitions.referenced.difference(&done).next().cloned() {
        let schema = definitions.known.get(&name).unwrap();
        write!(page, "\n### {name}\n\n{}\n\n", cell(text(schema, "description"))).unwrap();
        page += &if schema.get("properties").is_some() {
            definitions.fields(schema, with_default)
        } else {
            definitions.variants(schema)
        };
        done.insert(name);
    }
    page
}

fn definitions_in(schema: &Value) -> Map<String, Value> {
    schema
        .get("$defs")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}

#[test]
fn event_reference_matches_schemas() {
    let index = read("events/README.md");
    let mut known: Map<String, Value> = Map::new();
    let mut schemas = Vec::new();
    for row in index.lines().filter(|row| row.contains("](schemas/")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect();
        let file = row.split("](schemas/").nth(1).unwrap().split(')').next().unwrap();
        let mut schema_text = read(&format!("events/schemas/{file}"));
        let mut schema: Value = serde_json::from_str(&schema_text).unwrap();
        // Two crates can use one name for different types: the later one is qualified by the title of its schema.
        let title = text(&schema, "title").to_owned();
        for (name, definition) in definitions_in(&schema) {
            if known.get(&name).is_some_and(|earlier| *earlier != definition) {
                let qualified = format!("{name} of {title}");
                schema_text = schema_text.replace(&format!("#/$defs/{name}\""), &format!("#/$defs/{qualified}\""));
                schema_text =
                    schema_text.replace(&format!("\n    \"{name}\": {{"), &format!("\n    \"{qualified}\": {{"));
                schema = serde_json::from_str(&schema_text).unwrap();
            }
        }
        known.extend(definitions_in(&schema));
        let from = if cells.len() > 2 { cells.get(1).copied() } else { None };
        schemas.push((file.to_owned(), from.map(str::to_owned), schema));
    }
    assert!(schemas.len() >= 14, "{}", schemas.len());
    let mut definitions = Definitions {
        known: &known,
        linked: BTreeMap::new(),
        referenced: BTreeSet::new(),
    };
    let mut page = "## Events\n".to_owned();
    for (file, from, schema) in &schemas {
        let from = match from {
            Some(from) => format!("Source `driftwarden`, sent by {from}"),
            // Not an event: what webhooks and SNS topics get.
            None if file.starts_with("notification.") => "Sent by notify to SNS topics and webhooks".to_owned(),
            None if file.starts_with("retraining-status-reported.") => {
                "Source `driftwarden.pipeline`, sent by an external retraining service".to_owned()
            }
            None => "Source `driftwarden.operator`, sent by operators, or by an external service that counts outcomes"
                .to_owned(),
        };
        write!(
            page,
            "\n### {title}\n\n{} {from}; [schema](../../events/schemas/{file}).\n\n",
            cell(text(schema, "description")),
            title = text(schema, "title"),
        )
        .unwrap();
        page += &definitions.fields(schema, false);
    }
    page += "\n## Types\n";
    page += &referenced_sections(&mut definitions, false);
    check("docs/reference/events.md", &page);
}
